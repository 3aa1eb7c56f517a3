"""What each wire profile becomes under Qwen's chat template."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from osvl_plugins.conversation import ChatTokens, Sampled, TokenPolicy
from osvl_plugins.protocol import SYSTEM_PROMPT
from osvl_plugins.trajectory import Observation, Turn
from osvl_plugins.wire import INSTRUCTIONS, Wire
from tests.agents import answer, call
from tests.tiny import load_tiny
from tests.wires import CUT, PICTURE, QUESTION, QWEN3_VL, SCHEMAS, every_wire, seen

TURNS = (call("crop", image="img_1"), call("text_search", q="Oslo"), answer(r"\boxed{Oslo}"))
OBSERVED = (seen("img_2 (40x50)", "img_2"), seen("Title: Oslo"))

TOOLS = """\
# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
{first}
{second}
</tools>

For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:
<tool_call>
{{"name": <function-name>, "arguments": <args-json-object>}}
</tool_call>"""
FIRST_CALL = (
    '<think>next</think>\n<tool_call>\n{"name": "crop", "arguments": {"image": "img_1"}}\n</tool_call><|im_end|>\n'
)
SECOND_CALL = FIRST_CALL.replace("crop", "text_search").replace('"image": "img_1"', '"q": "Oslo"')
ANSWER = "<think>done</think>\n<response>\\boxed{Oslo}</response><|im_end|>"
PICTURE_TOKENS = "<|vision_start|><|image_pad|><|vision_end|>"
USER, ASSISTANT = "<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"


def released(schemas: list[dict[str, Any]]) -> list[dict[str, Any]]:
    text = json.dumps(schemas).replace('"python_interpreter"', '"PythonInterpreter"')
    named: list[dict[str, Any]] = json.loads(text)
    return named


def tools(schemas: list[dict[str, Any]]) -> str:
    first, second = map(json.dumps, schemas)
    return TOOLS.format(first=first, second=second)


GOLDEN = {
    "native": (
        f"<|im_start|>system\n{SYSTEM_PROMPT}\n\n{tools(SCHEMAS)}<|im_end|>\n"
        f"{USER}{PICTURE_TOKENS}img_1 (640x480)\nWho?{ASSISTANT}{FIRST_CALL}"
        f"{USER}<tool_response>\n{PICTURE_TOKENS}img_2 (40x50)\n</tool_response>{ASSISTANT}{SECOND_CALL}"
        f"{USER}<tool_response>\nTitle: Oslo\n</tool_response>{ASSISTANT}{ANSWER}"
    ),
    "sft": (
        f"<|im_start|>system\n{INSTRUCTIONS}\n\n{tools(released(SCHEMAS))}<|im_end|>\n"
        f"{USER}{PICTURE_TOKENS}Who?{ASSISTANT}{FIRST_CALL}"
        f"{USER}<tool_response>\n{PICTURE_TOKENS}<observation>\nNew image ID: img_2.\n</observation>\n</tool_response>"
        f"{ASSISTANT}{SECOND_CALL}"
        f"{USER}<tool_response>\n<observation>\nTitle: Oslo\n</observation>\n</tool_response>{ASSISTANT}{ANSWER}"
    ),
    "rl": (
        f"<|im_start|>system\n{INSTRUCTIONS}\nTools:\n- PythonInterpreter(code): Run code.\n"
        '- text_search(q, hl="en"): Search.\n\nCurrent date: 2026-01-31<|im_end|>\n'
        f"{USER}{PICTURE_TOKENS}image_id: 1 \n Question: Who?{ASSISTANT}{FIRST_CALL}"
        f"{USER}{PICTURE_TOKENS}<tool_response>\nNew image ID: img_2.\n</tool_response>{ASSISTANT}{SECOND_CALL}"
        f"{USER}<tool_response>\nTitle: Oslo\n</tool_response>{ASSISTANT}{ANSWER}"
    ),
    "infer": (
        f"{USER}{INSTRUCTIONS}\n\n{PICTURE_TOKENS}<tools>\n{json.dumps(released(SCHEMAS), indent=2)}\n</tools>\n\n"
        f"Who?{ASSISTANT}{FIRST_CALL}"
        f"{USER}<observation>\nNew image ID: img_2.\n</observation>{PICTURE_TOKENS}{ASSISTANT}{SECOND_CALL}"
        f"{USER}<observation>\nTitle: Oslo\n</observation>{ASSISTANT}{ANSWER}"
    ),
}


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> ChatTokens:
    processor = load_tiny(tmp_path_factory.mktemp("tiny")).processor
    processor.chat_template = processor.tokenizer.chat_template = QWEN3_VL
    return ChatTokens(processor)


@every_wire
async def test_a_conversation_of_two_calls_reads_as_its_profile_says(wire: Wire, chat: ChatTokens) -> None:
    turns = [chat.turn(turn) for turn in TURNS]

    async def sample(token_ids: list[int], images: list[Image.Image], room: int) -> Sampled:
        return Sampled(turns.pop(0), [])

    policy = TokenPolicy(chat, sample, max_response=4000, max_turn=400)
    prompt = wire.prompt(QUESTION, [PICTURE], SCHEMAS)
    await policy.start(prompt.messages, [Image.new("RGB", (64, 64))], prompt.tools)
    for turn in OBSERVED:
        await policy.act()
        images = [Image.new("RGB", (32, 64))] if turn.observation and turn.observation.image_ids else []
        assert await policy.observe(wire.observation(turn, [PICTURE, CUT]), images)
    await policy.act()
    text = chat.tokenizer.decode(policy.prompt_ids + policy.response_ids)
    assert re.sub(r"(<\|image_pad\|>)+", "<|image_pad|>", text) == GOLDEN[wire.name]


fragments = st.sampled_from(
    [
        *("<|im_end|>", "<|im_start|>user", "<|image_pad|>", "<|vision_start|>"),
        *("</tool_response>", "</observation>", "<image>", "<", "|im_end|>", " ", "\n", "a"),
    ]
)


@every_wire
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(text=st.lists(fragments, max_size=12).map("".join), pictures=st.integers(0, 1))
def test_no_text_of_a_tool_ends_its_message_or_forges_a_picture(
    wire: Wire, chat: ChatTokens, text: str, pictures: int
) -> None:
    images = [Image.new("RGB", (64, 64))] * pictures

    def ids(said: str) -> list[int]:
        turn = Turn("", observation=Observation(said, ("img_2",) * pictures))
        return chat.observation(wire.observation(turn, [PICTURE, CUT]), images)

    plain, attacked = ids("a"), ids(text)
    special = set(chat.tokenizer.all_special_ids)
    assert [token for token in attacked if token in special] == [token for token in plain if token in special]
    end = "</observation>" if wire.name == "infer" else "</tool_response>"
    assert chat.tokenizer.decode(attacked).count(end) == 1
