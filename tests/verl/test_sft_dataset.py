"""SFT tokens are the tokens of a rollout."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("verl")

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from osvl_plugins.conversation import ChatTokens, Sampled, TokenPolicy
from osvl_plugins.errors import SettingError
from osvl_plugins.verl.sft_dataset import ConversationDataset, conversation_ids
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
    return load_tiny(tmp_path_factory.mktemp("tiny")).processor


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
    await policy.observe("img_2 (32x64)", IMAGES[1:])
    _, second = await policy.act()
    item = dataset(file, processor)[0]
    assert item["input_ids"].tolist() == policy.prompt_ids + policy.response_ids
    spans = [span for span in (first, second) if span is not None]
    mask = [int(any(span.start <= place < span.end for span in spans)) for place in range(len(policy.response_ids))]
    assert item["loss_mask"].tolist() == [0] * len(policy.prompt_ids) + mask


def test_pictures_come_with_four_axes_of_positions(file: Path, processor: Any) -> None:
    item = dataset(file, processor)[0]
    assert item["multi_modal_inputs"]["image_grid_thw"].tolist() == [[1, 4, 4], [1, 4, 2]]
    assert item["position_ids"].shape[-1] == len(item["input_ids"])


def test_a_row_without_pictures_has_plain_positions(file: Path, processor: Any) -> None:
    item = dataset(file, processor)[1]
    assert "multi_modal_inputs" not in item
    assert item["position_ids"].tolist() == list(range(len(item["input_ids"])))


def test_a_row_that_is_too_long_is_refused(file: Path, processor: Any) -> None:
    with pytest.raises(SettingError, match=r"^data.max_length: row 0 has \d+ tokens, over 20"):
        dataset(file, processor, max_length=20)[0]


def test_padding_is_refused(file: Path, processor: Any) -> None:
    with pytest.raises(SettingError, match=r"^data.pad_mode: must be no_padding"):
        dataset(file, processor, pad_mode="right")


def test_max_samples_takes_the_first_rows(file: Path, processor: Any) -> None:
    assert len(ConversationDataset([str(file)] * 2, processor.tokenizer, {}, processor, max_samples=3)) == 3


def test_pictures_that_no_message_shows_are_refused(processor: Any) -> None:
    with pytest.raises(ValueError, match="leave 1 of 3 pictures unused"):
        conversation_ids(ChatTokens(processor), MESSAGES, [*IMAGES, IMAGES[0]], TOOLS)


def test_messages_out_of_turn_are_refused(processor: Any) -> None:
    with pytest.raises(ValueError, match="message 3 has role 'assistant', out of turn"):
        conversation_ids(ChatTokens(processor), [*MESSAGES[:3], MESSAGES[4]], IMAGES, TOOLS)
