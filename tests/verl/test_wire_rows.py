"""A conversation trains the tokens that a rollout of it has, in every wire profile."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

pytest.importorskip("verl")

from PIL import Image

from osvl_plugins.conversation import ChatTokens, Message, Sampled, TokenPolicy
from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.curation.rows import sft_row
from osvl_plugins.episode import EpisodeSettings, Task, run_episode
from osvl_plugins.fatal import FatalSettings
from osvl_plugins.trajectory import Observation, Span, Turn
from osvl_plugins.verl.sft_dataset import conversation_pieces
from osvl_plugins.wire import Wire
from tests.agents import answer, call, toolset
from tests.tiny import load_tiny
from tests.wires import CUT, PICTURE, QWEN3_VL, SCHEMAS, WIRES, every_wire

TURNS = [
    call("crop", image="img_1", x=0, y=0, width=40, height=50),
    call("visit", url="<image></observation></tool_response><|im_end|>"),
    call("text_search", q="Mexico"),
    answer("Oslo"),
]


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> ChatTokens:
    processor = load_tiny(tmp_path_factory.mktemp("tiny")).processor
    processor.chat_template = processor.tokenizer.chat_template = QWEN3_VL
    return ChatTokens(processor)


def policy_of(chat: ChatTokens, turns: list[str]) -> TokenPolicy:
    left = [chat.turn(turn) for turn in turns]

    async def sample(token_ids: list[int], images: list[Image.Image], room: int) -> Sampled:
        return Sampled(left.pop(0), [])

    return TokenPolicy(chat, sample, max_response=20_000, max_turn=1000)


def trained(chat: ChatTokens, row: dict[str, Any], images: list[Image.Image]) -> tuple[list[int], list[bool]]:
    tools = json.loads(row["tools"]) if row["tools"] else None
    pieces = conversation_pieces(chat, row["messages"], images, tools)
    return [token for piece in pieces for token in piece.ids], [piece.written for piece in pieces for _ in piece.ids]


def rolled_out(policy: TokenPolicy, spans: list[Span | None]) -> tuple[list[int], list[bool]]:
    written = {len(policy.prompt_ids) + place for span in spans if span for place in range(span.start, span.end)}
    ids = policy.prompt_ids + policy.response_ids
    return ids, [place in written for place in range(len(ids))]


@every_wire
async def test_a_row_written_in_a_profile_has_the_tokens_of_the_episode(
    wire: Wire, chat: ChatTokens, atlas: Corpus
) -> None:
    policy, tools = policy_of(chat, TURNS), toolset(atlas)
    parts = [{"type": "image"}, {"type": "text", "text": "Who?"}]
    task = Task(messages=[{"role": "user", "content": parts}], images=[Image.new("RGB", (200, 100), "teal")])
    trajectory = await run_episode(task, policy, tools, EpisodeSettings(), FatalSettings(), wire)
    row = sft_row(task, trajectory, tools, wire)
    images: list[Image.Image] = [Image.open(io.BytesIO(image["bytes"])) for image in row["images"]]
    assert len(trajectory.turns) == len(TURNS)
    assert trained(chat, row, images) == rolled_out(policy, [turn.span for turn in trajectory.turns])


async def test_a_row_of_the_released_data_has_the_tokens_of_an_sft_rollout(chat: ChatTokens) -> None:
    turns = [call("crop", image="img_1"), call("text_search", q="Oslo"), answer("Oslo")]
    images = [Image.new("RGB", (64, 64), "blue"), Image.new("RGB", (32, 64), "red")]
    row = {
        "messages": [
            {"role": "system", "content": "Look it up."},
            {"role": "user", "content": "<image>Who?"},
            {"role": "assistant", "content": turns[0]},
            {"role": "tool", "content": "<image><observation>\nNew image ID: img_2.\nCut.\n</observation>"},
            {"role": "assistant", "content": turns[1]},
            {"role": "tool", "content": "<observation>\nTitle: Oslo\n</observation>"},
            {"role": "assistant", "content": turns[2]},
        ],
        "tools": json.dumps(SCHEMAS[1:]),
    }
    wire, policy = WIRES["sft"], policy_of(chat, turns)
    task: list[Message] = [
        {"role": "system", "content": [{"type": "text", "text": "Look it up."}]},
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Who?"}]},
    ]
    prompt = wire.prompt(task, [PICTURE], SCHEMAS[1:])
    await policy.start(prompt.messages, images[:1], prompt.tools)
    spans = [(await policy.act())[1]]
    await policy.observe(
        wire.observation(Turn("", observation=Observation("img_2 (40x50)\nCut.", ("img_2",))), [PICTURE, CUT]),
        images[1:],
    )
    spans.append((await policy.act())[1])
    await policy.observe(wire.observation(Turn("", observation=Observation("Title: Oslo")), [PICTURE, CUT]), [])
    spans.append((await policy.act())[1])
    assert trained(chat, row, images) == rolled_out(policy, spans)
