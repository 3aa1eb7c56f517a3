"""The wire profiles, something to say in each, and a chat template to say it through."""

from __future__ import annotations

import datetime
from typing import Any, get_args

import pytest

from osvl_plugins.conversation import Message
from osvl_plugins.trajectory import ImageRecord, Observation, Turn
from osvl_plugins.wire import WireName, build_wire

DAY = datetime.date(2026, 1, 31)
WIRES = {name: build_wire(name, DAY) for name in get_args(WireName)}
SCHEMAS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": "python_interpreter",
            "description": "Run code.",
            "parameters": {"type": "object", "properties": {"code": {"type": "string"}}, "required": ["code"]},
        },
    },
    {
        "type": "function",
        "function": {
            "name": "text_search",
            "description": "Search.",
            "parameters": {
                "type": "object",
                "properties": {"q": {"type": "string"}, "hl": {"type": "string", "default": "en"}},
                "required": ["q"],
            },
        },
    },
]
PICTURE, CUT = ImageRecord("img_1", 640, 480), ImageRecord("img_2", 40, 50, "crop", "img_1")
QUESTION: list[Message] = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Who?"}]}]

every_wire = pytest.mark.parametrize("wire", WIRES.values(), ids=WIRES)

QWEN3_VL = r"""
{%- macro render(content) -%}
{%- if content is string -%}{{ content }}{%- else -%}{%- for part in content -%}
{%- if part.type == 'image' -%}<|vision_start|><|image_pad|><|vision_end|>{%- else -%}{{ part.text }}{%- endif -%}
{%- endfor -%}{%- endif -%}
{%- endmacro -%}
{%- set system = render(messages[0].content) if messages[0].role == 'system' else '' -%}
{%- if tools -%}
{{ '<|im_start|>system\n' + (system + '\n\n' if system else '') }}
{{- '# Tools\n\nYou may call one or more functions to assist with the user query.\n\n' }}
{{- 'You are provided with function signatures within <tools></tools> XML tags:\n<tools>' }}
{%- for tool in tools %}{{ '\n' + (tool | tojson) }}{% endfor %}
{{- '\n</tools>\n\nFor each function call, return a json object with function name and arguments ' }}
{{- 'within <tool_call></tool_call> XML tags:\n<tool_call>\n' }}
{{- '{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call><|im_end|>\n' }}
{%- elif system -%}
{{ '<|im_start|>system\n' + system + '<|im_end|>\n' }}
{%- endif -%}
{%- for message in messages -%}
{%- if message.role == 'tool' -%}
{%- if loop.first or messages[loop.index0 - 1].role != 'tool' -%}{{ '<|im_start|>user' }}{%- endif -%}
{{ '\n<tool_response>\n' + render(message.content) + '\n</tool_response>' }}
{%- if loop.last or messages[loop.index0 + 1].role != 'tool' -%}{{ '<|im_end|>\n' }}{%- endif -%}
{%- elif message.role != 'system' -%}
{{ '<|im_start|>' + message.role + '\n' + render(message.content) + '<|im_end|>\n' }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\n' }}{%- endif -%}"""
"""What the public template of Qwen3-VL Instruct prints, from messages and tools."""


def seen(text: str, *image_ids: str) -> Turn:
    """A turn after which ``text`` came back, with pictures."""
    return Turn("", observation=Observation(text, image_ids))
