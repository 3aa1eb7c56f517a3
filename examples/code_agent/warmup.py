"""What the tiny model needs before RL, since random weights write no call: the model, and conversations for SFT.

    python -m examples.code_agent.warmup outputs/code_agent

reads ``data/train.parquet``; writes the model to ``base/``, and ``data/sft.parquet`` for the recipe ``osvl_tiny_sft``.
A script writes the calls, and often writes them wrong; what it reads back is what python_interpreter really says. A
pretrained model needs none of it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from examples.code_agent.data import SYSTEM_PROMPT, N, Question, prompt
from osvl_plugins.agent import AgentSettings, build_tools
from osvl_plugins.curation.rows import SFT_SCHEMA, write_parquet
from osvl_plugins.images import ImageStore
from osvl_plugins.tiny import build_tiny
from osvl_plugins.tools.base import ToolContext
from osvl_plugins.tools.toolset import ToolSet
from osvl_plugins.trajectory import ToolCall

PROGRAMS = {
    "squares": "n={n}; print('Answer:', sum(i * i for i in range(1, 2 * n, 2)))",
    "primes": "n={n}; print('Answer:', sum(all(i % k for k in range(2, i)) for i in range(2, n)))",
    "day": "from datetime import date, timedelta; n={n}; print('Answer:', (date(2000, 1, 1) + timedelta(n)).day)",
    "remainder": "n={n}; print('Answer:', pow(7, n, 1000))",
    "sevens": "n={n}; print('Answer:', str(2 ** n).count('7'))",
}
"""A right program for each kind of question. A model this small copies what it has just read with the same words."""

SLIPS = (("print(", "prnt("), ("))", ")"))
"""What goes wrong: a name, or a bracket that is not closed."""

FAILS_FIRST, FAILS_AGAIN, CHECKS = 0.45, 0.75, 0.6
"""Chances that a call is wrong, that the next one is too, and that a number is computed again to be sure."""
MAX_CALLS = 5


async def conversation(question: Question, tools: ToolSet) -> dict[str, Any]:
    """One scripted conversation about ``question``, as a row for SFT."""
    draw = random.Random(question.text)
    context = ToolContext(ImageStore(AgentSettings().episode.images))
    right = PROGRAMS[question.kind].format(n=question.n)
    messages = prompt(question)
    failed = False
    for number in range(1, MAX_CALLS + 1):
        failed = number < MAX_CALLS and draw.random() < (FAILS_AGAIN if failed else FAILS_FIRST)
        code = right.replace(*draw.choice(SLIPS), 1) if failed else right
        call = ToolCall("python_interpreter", {"code": code})
        observation = await tools.run(call, context)
        text = json.dumps({"name": call.name, "arguments": call.arguments})
        messages.append({"role": "assistant", "content": f"<tool_call>\n{text}\n</tool_call>"})
        messages.append({"role": "tool", "content": observation.text})
        if observation.error is None and draw.random() >= CHECKS:
            break
    messages.append({"role": "assistant", "content": f"Answer: {question.answer}"})
    return {"messages": messages, "images": [], "tools": json.dumps(tools.schemas)}


async def conversations(asked: Sequence[Question]) -> list[dict[str, Any]]:
    """A scripted conversation about each question."""
    tools = build_tools(AgentSettings(tools=("python_interpreter",)))
    try:
        return await asyncio.gather(*(conversation(question, tools) for question in asked))
    finally:
        await tools.aclose()


def write(out: Path, count: int) -> None:
    """Write the model and ``count`` conversations about questions of the file ``train.parquet`` to ``out``."""
    known = pq.read_table(out / "data" / "train.parquet", columns=["extra_info"]).to_pylist()[:count]
    rows = asyncio.run(conversations([Question(row["extra_info"]["kind"], row["extra_info"]["n"]) for row in known]))
    write_parquet(rows, SFT_SCHEMA, out / "data" / "sft.parquet")
    texts = [SYSTEM_PROMPT, *(message["content"] for row in rows for message in row["messages"])]
    build_tiny(out / "base", texts, ["python_interpreter", "code", *map(str, N)], ["Answer"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--conversations", type=int, default=500)
    given = parser.parse_args()
    write(given.out, given.conversations)
