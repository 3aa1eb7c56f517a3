"""Rows of verl's parquet formats."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.curation.exposures import Exposure, expose
from osvl_plugins.curation.questions import Chain, anchors_of, question_text, sample_chain
from osvl_plugins.curation.rows import RL_SCHEMA, SFT_SCHEMA, make_task, rl_row, sft_row, write_parquet
from osvl_plugins.episode import EpisodeSettings, Task, run_episode
from osvl_plugins.fatal import FatalSettings
from osvl_plugins.tools.toolset import ToolSet
from osvl_plugins.trajectory import Trajectory
from tests.agents import Scripted, answer, call, toolset

TURNS = (
    call("crop", image="img_1", x=0, y=0, width=40, height=50),
    call("visit", url="<image>"),
    call("text_search", q="Mexico"),
    answer("Mexico City"),
)


@pytest.fixture(scope="module")
def asked(atlas: Corpus) -> tuple[Chain, Exposure]:
    anchors = anchors_of(atlas.pages, set(atlas.pages), atlas.ambiguous_pictures)
    chain = sample_chain(atlas.pages, anchors, random.Random(0))
    assert chain is not None
    return chain, expose(atlas, (chain.pages[0], chain.picture), anchors, 0)[0]


@pytest.fixture(scope="module")
def tools(atlas: Corpus) -> ToolSet:
    return toolset(atlas)


async def finished(asked: tuple[Chain, Exposure], tools: ToolSet) -> tuple[Task, Trajectory]:
    task = make_task(*asked, "Use tools.")
    return task, await run_episode(task, Scripted(TURNS), tools, EpisodeSettings(), FatalSettings())


def opened(image: dict[str, bytes]) -> Image.Image:
    return Image.open(io.BytesIO(image["bytes"]))


async def test_an_sft_row_is_the_conversation(asked: tuple[Chain, Exposure], tools: ToolSet) -> None:
    task, trajectory = await finished(asked, tools)
    row = sft_row(task, trajectory, tools)
    assert [message["role"] for message in row["messages"]] == [
        "system",
        "user",
        *["assistant", "tool"] * 3,
        "assistant",
    ]
    assert [m["content"] for m in row["messages"] if m["role"] == "assistant"] == list(TURNS)
    width, height = task.images[0].size
    assert row["messages"][1]["content"] == f"<image>img_1 ({width}x{height})\n{question_text(asked[0])}"
    assert row["messages"][3]["content"] == "<image>img_2 (40x50)"
    assert json.loads(row["tools"]) == tools.schemas


async def test_an_sft_row_has_a_picture_for_each_placeholder(asked: tuple[Chain, Exposure], tools: ToolSet) -> None:
    row = sft_row(*await finished(asked, tools), tools)
    shown = sum(m["content"].count("<image>") for m in row["messages"] if m["role"] != "assistant")
    assert shown == len(row["images"]) == 2


async def test_an_sft_row_holds_what_the_model_saw_without_loss(asked: tuple[Chain, Exposure], tools: ToolSet) -> None:
    task, trajectory = await finished(asked, tools)
    row = sft_row(task, trajectory, tools)
    assert task.store is not None
    views = [task.store.view("img_1"), task.store.view("img_2")]
    assert [opened(image).tobytes() for image in row["images"]] == [view.tobytes() for view in views]


def test_an_rl_row_asks_the_question_and_knows_the_answer(asked: tuple[Chain, Exposure]) -> None:
    chain, exposure = asked
    row = rl_row(make_task(chain, exposure, "Use tools."), chain, exposure, 7, "train")
    assert row["prompt"] == [
        {"role": "system", "content": "Use tools."},
        {"role": "user", "content": "<image>" + question_text(chain)},
    ]
    assert row["images"] == [{"bytes": exposure.data}]
    assert row["agent_name"] == "osvl_agent"
    assert row["reward_model"]["ground_truth"] == chain.answer
    assert row["extra_info"] == {
        "index": 7, "split": "train", "evidence": list(chain.pages), "hops": chain.hops, "view": exposure.view
    }  # fmt: skip


async def test_rows_come_back_from_parquet_as_they_were(
    asked: tuple[Chain, Exposure], tools: ToolSet, tmp_path: Path
) -> None:
    task, trajectory = await finished(asked, tools)
    for schema, row in (
        (SFT_SCHEMA, sft_row(task, trajectory, tools)),
        (RL_SCHEMA, rl_row(make_task(*asked, "Use tools."), *asked, 0, "test")),
    ):
        file = tmp_path / "rows" / "rows.parquet"
        assert write_parquet([row, row], schema, file) == 2
        assert pq.read_table(file).to_pylist() == [row, row]
        assert pq.read_schema(file).equals(schema)
        assert [path.name for path in file.parent.iterdir()] == ["rows.parquet"]


def test_a_failed_write_leaves_no_file(tmp_path: Path) -> None:
    def broken() -> object:
        yield {"tools": "[]"}
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        write_parquet(broken(), SFT_SCHEMA, tmp_path / "rows.parquet")
    assert not (tmp_path / "rows.parquet").exists()


def test_a_framed_question_says_so(asked: tuple[Chain, Exposure]) -> None:
    chain, exposure = asked
    framed = Exposure(exposure.anchor, "framed", exposure.data, quadrant="top left")
    assert make_task(chain, framed, "").question == question_text(chain, framed=True)
