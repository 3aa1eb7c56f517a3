"""Conversations of SFT data, read back as trajectories."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.curation.exposures import expose
from osvl_plugins.curation.questions import anchors_of, sample_chain
from osvl_plugins.curation.rows import SFT_SCHEMA, make_task, sft_row, write_parquet
from osvl_plugins.episode import EpisodeSettings, run_episode
from osvl_plugins.errors import OsvlError
from osvl_plugins.fatal import FatalSettings
from osvl_plugins.trajectory import ImageRecord, StepError
from osvl_plugins.viewer.conversations import read_conversations, trajectory_of
from tests.agents import Scripted, answer, call, toolset
from tests.viewer.dumps import conversations, picture, questions


async def test_what_the_curation_wrote_is_read_as_it_happened(atlas: Corpus, tmp_path: Path) -> None:
    anchors = anchors_of(atlas.pages, set(atlas.pages), atlas.ambiguous_pictures)
    chain = sample_chain(atlas.pages, anchors, random.Random(0))
    assert chain is not None
    task = make_task(chain, expose(atlas, (chain.pages[0], chain.picture), anchors, 0)[0], "Use tools.")
    tools = toolset(atlas)
    turns = (
        call("crop", image="img_1", x=0, y=0, width=40, height=50),
        call("sharpen", image="img_2"),
        "no call",
        call("visit", url="atlas://nowhere"),
        call("text_search", q="Mexico"),
        answer("Mexico City"),
    )
    happened = await run_episode(task, Scripted(turns), tools, EpisodeSettings(), FatalSettings())
    write_parquet([sft_row(task, happened, tools)], SFT_SCHEMA, tmp_path / "sft.parquet")
    ((read, pictures),) = read_conversations(tmp_path / "sft.parquet")
    assert not isinstance(read, str)
    assert len(pictures) == len(happened.images) == 3
    assert (read.question, read.images, read.end) == (happened.question, happened.images, "answer")
    for one, other in zip(read.turns, happened.turns, strict=True):
        assert (one.text, one.call, one.answer, one.is_error) == (other.text, other.call, other.answer, other.is_error)
        assert one.observation is None or one.observation.text == other.observation.text  # type: ignore[union-attr]
        assert one.observation is None or one.observation.error == other.observation.error  # type: ignore[union-attr]


def test_pictures_without_a_name_are_counted_and_measured() -> None:
    messages = [("user", "<image>What?"), ("assistant", "hm"), ("user", "<image>there")]
    read = trajectory_of([dict(role=r, content=c) for r, c in messages], [picture(), picture(size=(30, 20))])
    assert read.images == [ImageRecord("img_1", 200, 100), ImageRecord("img_2", 30, 20)]
    assert read.question == "What?"


def test_an_error_is_one_of_the_closed_set() -> None:
    def error(text: str) -> StepError | None:
        read = trajectory_of([{"role": "assistant", "content": "x"}, {"role": "tool", "content": text}], [])
        assert read.turns[0].observation is not None
        return read.turns[0].observation.error

    assert error("Error (timeout): no result") == StepError("timeout", "no result")
    assert error("Error (whatever): a page's words") is None
    assert error("A page on Error (timeout): 5") is None


@pytest.mark.parametrize("pictures", [[], [picture()] * 2], ids=["too few", "too many"])
def test_a_row_whose_pictures_do_not_fit_is_damage(tmp_path: Path, pictures: list[bytes]) -> None:
    file = conversations(tmp_path / "sft.parquet", ([("user", "<image>What?")], pictures))
    ((why, _),) = read_conversations(file)
    assert isinstance(why, str)
    assert "not a conversation" in why


def test_a_file_of_questions_is_refused_with_a_hint(tmp_path: Path) -> None:
    file = questions(tmp_path / "q.parquet", ("What?", "It", picture()))
    with pytest.raises(OsvlError, match="give it with --data"):
        list(read_conversations(file))


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sft.parquet").write_text("{}")
    with pytest.raises(OsvlError, match="cannot be read as parquet"):
        list(read_conversations(tmp_path / "sft.parquet"))
