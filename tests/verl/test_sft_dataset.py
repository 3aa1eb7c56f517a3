"""SFT tokens are the tokens of a rollout."""

from __future__ import annotations

import io
import json
import logging
import multiprocessing
import pickle
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("verl")

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchdata.stateful_dataloader import StatefulDataLoader
from verl.utils import hf_processor
from verl.utils.dataset.dataset_utils import SFTTensorCollator

from osvl_plugins.conversation import ChatTokens, Sampled, TokenPolicy
from osvl_plugins.errors import OsvlError, SettingError
from osvl_plugins.verl.sft_dataset import ConversationDataset, Piece, conversation_pieces, fit
from tests.agents import answer, call
from tests.tiny import load_tiny

TOOLS = [{"type": "function", "function": {"name": "crop", "parameters": {}}}]
TURNS = (call("crop", image="img_1"), answer("Oslo"))
IMAGES = [Image.new("RGB", (64, 64), "blue"), Image.new("RGB", (32, 64), "red")]
MESSAGES = [
    {"role": "system", "content": "Tools:"},
    {"role": "user", "content": "<image>img_1 (64x64)\nWhat is its capital?"},
    {"role": "assistant", "content": TURNS[0]},
    {"role": "tool", "content": "<image>img_2 (32x64)"},
    {"role": "assistant", "content": TURNS[1]},
]


@pytest.fixture(scope="module")
def processor(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("tiny")
    load_tiny(folder)
    return hf_processor(str(folder))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    images = []
    for image in IMAGES:
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        images.append({"bytes": buffer.getvalue()})
    rows = [
        {"messages": MESSAGES, "images": images, "tools": json.dumps(TOOLS)},
        {"messages": [{"role": "user", "content": "q"}, MESSAGES[-1]], "images": [], "tools": None},
    ]
    path = tmp_path_factory.mktemp("rows") / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def dataset(file: Path, processor: Any, **config: Any) -> ConversationDataset:
    return ConversationDataset(str(file), processor.tokenizer, config, processor)


def test_the_loss_covers_exactly_what_the_assistant_wrote_and_the_end_of_its_turns(file: Path, processor: Any) -> None:
    item = dataset(file, processor)[0]
    trained = item["input_ids"][item["loss_mask"].bool()].tolist()
    end = processor.tokenizer.eos_token
    assert processor.tokenizer.decode(trained) == "".join(turn + end for turn in TURNS)


async def test_ids_and_mask_are_those_of_a_rollout_of_the_same_turns(file: Path, processor: Any) -> None:
    chat = ChatTokens(processor)
    turns = [chat.turn(turn) for turn in TURNS]

    async def sample(token_ids: list[int], images: list[Image.Image], room: int) -> Sampled:
        return Sampled(turns.pop(0), [])

    policy = TokenPolicy(chat, sample, max_response=1000, max_turn=1000)
    question = [
        {"type": "image"},
        {"type": "text", "text": "img_1 (64x64)\n"},
        {"type": "text", "text": "What is its capital?"},
    ]
    prompt = [
        {"role": "system", "content": [{"type": "text", "text": "Tools:"}]},
        {"role": "user", "content": question},
    ]
    await policy.start(prompt, IMAGES[:1], TOOLS)
    _, first = await policy.act()
    observation = [{"type": "image"}, {"type": "text", "text": "img_2 (32x64)"}]
    await policy.observe({"role": "tool", "content": observation}, IMAGES[1:])
    _, second = await policy.act()
    item = dataset(file, processor)[0]
    assert item["input_ids"].tolist() == policy.prompt_ids + policy.response_ids
    spans = [span for span in (first, second) if span is not None]
    mask = [int(any(span.start <= place < span.end for span in spans)) for place in range(len(policy.response_ids))]
    assert item["loss_mask"].tolist() == [0] * len(policy.prompt_ids) + mask


def test_pictures_come_with_four_axes_of_positions(file: Path, processor: Any) -> None:
    item = dataset(file, processor)[0]
    assert item["multi_modal_inputs"]["image_grid_thw"].tolist() == [[1, 4, 4], [1, 4, 2]]
    assert item["position_ids"].shape == (4, len(item["input_ids"]))


def test_a_row_without_pictures_has_the_same_position_on_each_axis(file: Path, processor: Any) -> None:
    item = dataset(file, processor)[1]
    assert item["multi_modal_inputs"] == {}
    assert item["position_ids"].tolist() == [list(range(len(item["input_ids"])))] * 4


def test_without_a_processor_positions_have_one_axis(file: Path, processor: Any) -> None:
    item = ConversationDataset(str(file), processor.tokenizer, {})[1]
    assert "multi_modal_inputs" not in item
    assert item["position_ids"].tolist() == list(range(len(item["input_ids"])))


def test_pictures_without_a_processor_are_refused(file: Path, processor: Any) -> None:
    with pytest.raises(OsvlError, match="row 0 has pictures, and the model's folder has no processor"):
        ConversationDataset(str(file), processor.tokenizer, {})[0]


def test_a_row_that_is_too_long_is_refused(file: Path, processor: Any) -> None:
    with pytest.raises(SettingError, match=r"^data.max_length: row 0 has \d+ tokens, over 20"):
        dataset(file, processor, max_length=20)[0]


def test_a_row_cut_within_its_last_turn_keeps_the_tokens_before(file: Path, processor: Any) -> None:
    whole = dataset(file, processor)[0]
    item = dataset(file, processor, truncation="right", max_length=len(whole["input_ids"]) - 2)[0]
    assert item["input_ids"].tolist() == whole["input_ids"].tolist()[:-2]
    assert item["loss_mask"].tolist() == whole["loss_mask"].tolist()[:-2]
    assert item["position_ids"].tolist() == whole["position_ids"][:, :-2].tolist()


def test_a_row_cut_within_an_observation_ends_with_the_turn_before_and_loses_its_picture(
    file: Path, processor: Any
) -> None:
    whole = dataset(file, processor)[0]
    # The observation's picture has two placeholders; the bound falls between them.
    bound = int((whole["input_ids"] == processor.image_token_id).nonzero()[-1])
    item = dataset(file, processor, truncation="right", max_length=bound)[0]
    assert item["input_ids"][-1] == processor.tokenizer.eos_token_id
    assert item["loss_mask"].sum() == len(ChatTokens(processor).turn(TURNS[0]))
    assert item["multi_modal_inputs"]["image_grid_thw"].tolist() == [[1, 4, 4]]


def test_the_number_of_cut_rows_is_reported(file: Path, processor: Any, caplog: pytest.LogCaptureFixture) -> None:
    length = len(dataset(file, processor)[0]["input_ids"])
    rows = dataset(file, processor, truncation="right", max_length=length - 1)
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            rows[0]
    assert [record.getMessage().split("; ")[1] for record in caplog.records] == [
        "1 rows cut so far", "2 rows cut so far", "4 rows cut so far",
    ]  # fmt: skip
    assert f"row 0 has {length} tokens, over {length - 1}, and ends after 2 of 2 turns" in caplog.text


def test_a_row_whose_prompt_leaves_no_room_is_refused(file: Path, processor: Any) -> None:
    with pytest.raises(SettingError, match=r"^data.max_length: row 0 has no turn within 5 tokens"):
        dataset(file, processor, truncation="right", max_length=5)[0]


PIECES = st.builds(
    Piece, st.lists(st.integers(0, 9), min_size=1, max_size=6), st.booleans(), st.integers(0, 2)
)  # fmt: skip


@given(st.lists(PIECES, max_size=8), st.integers(0, 40))
def test_what_fits_is_a_beginning_within_the_bound_that_ends_with_a_turn(pieces: list[Piece], tokens: int) -> None:
    kept = fit(pieces, tokens)
    assert sum(len(piece.ids) for piece in kept) <= tokens
    assert kept[:-1] == pieces[: max(0, len(kept) - 1)]
    if kept:
        last = pieces[len(kept) - 1]
        assert last.written
        assert kept[-1] == last._replace(ids=last.ids[: len(kept[-1].ids)])


@pytest.mark.parametrize(("name", "value"), [("truncation", "left"), ("pad_mode", "right"), ("max_pixels", 10)])
def test_a_setting_that_cannot_work_is_refused_by_its_name(
    file: Path, processor: Any, name: str, value: object
) -> None:
    with pytest.raises(SettingError, match=rf"^data\.{name}: "):
        dataset(file, processor, **{name: value})


def test_pictures_are_shown_within_the_bound(file: Path, processor: Any) -> None:
    grids = dataset(file, processor, max_pixels=1024)[0]["multi_modal_inputs"]["image_grid_thw"]
    # 64 x 64 becomes 32 x 32, which is two patches of 16 on a side.
    assert grids[0].tolist() == [1, 2, 2]


def test_a_picture_that_cannot_be_read_is_named(tmp_path: Path, processor: Any) -> None:
    row = {"messages": MESSAGES[:3], "images": [{"bytes": b"no picture"}], "tools": None}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "rows.parquet")
    with pytest.raises(OsvlError, match="row 0: not a readable picture"):
        dataset(tmp_path / "rows.parquet", processor)[0]


def test_a_conversation_that_cannot_be_trained_is_named(tmp_path: Path, processor: Any) -> None:
    row = {"messages": [*MESSAGES[:3], MESSAGES[4]], "images": [], "tools": None}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "rows.parquet")
    with pytest.raises(OsvlError, match="row 0: the messages show 1 pictures and the row has 0"):
        dataset(tmp_path / "rows.parquet", processor)[0]


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_give_what_the_process_itself_gives(file: Path, processor: Any, start: str) -> None:
    rows = dataset(file, processor)
    own = [rows[i] for i in range(2)]
    loader = StatefulDataLoader(
        rows,
        batch_size=2,
        num_workers=2,
        collate_fn=SFTTensorCollator("no_padding"),
        multiprocessing_context=multiprocessing.get_context(start),
    )
    (batch,) = list(loader)
    for key in ("input_ids", "loss_mask"):
        assert torch.equal(batch[key].values(), torch.cat([item[key] for item in own]))
    assert torch.equal(batch["position_ids"].values(), torch.cat([item["position_ids"] for item in own], dim=1))


def test_a_pickled_dataset_keeps_what_verl_bound_to_the_processor(file: Path, processor: Any) -> None:
    again = pickle.loads(pickle.dumps(dataset(file, processor)))
    assert again.processor.get_rope_index.__self__ is again.processor
    assert torch.equal(again[0]["position_ids"], dataset(file, processor)[0]["position_ids"])


def test_max_samples_takes_the_first_rows(file: Path, processor: Any) -> None:
    assert len(ConversationDataset([str(file)] * 2, processor.tokenizer, {}, processor, max_samples=3)) == 3


def test_pictures_that_no_message_shows_are_refused(processor: Any) -> None:
    with pytest.raises(ValueError, match="the messages show 2 pictures and the row has 3"):
        conversation_pieces(ChatTokens(processor), MESSAGES, [*IMAGES, IMAGES[0]], TOOLS)


def test_messages_out_of_turn_are_refused(processor: Any) -> None:
    with pytest.raises(ValueError, match="message 3 has role 'assistant', out of turn"):
        conversation_pieces(ChatTokens(processor), [*MESSAGES[:3], MESSAGES[4]], IMAGES[:1], TOOLS)
