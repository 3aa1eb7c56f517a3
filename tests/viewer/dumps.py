"""Files to view: rollout dumps, evaluation files, SFT data and questions."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from osvl_plugins.curation.rows import RL_SCHEMA, SFT_SCHEMA, write_parquet
from osvl_plugins.trajectory import ImageRecord, Observation, Span, ToolCall, Trajectory, Turn
from tests.steps import trajectory

SIZE = (200, 100)
CROP = {"image": "img_1", "x": 50, "y": 20, "width": 60, "height": 40}


def picture(colour: str = "teal", size: tuple[int, int] = SIZE) -> bytes:
    """A PNG with a red rectangle where ``CROP`` cuts."""
    image = Image.new("RGB", size, colour)
    ImageDraw.Draw(image).rectangle((50, 20, 109, 59), fill="red")
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def cut(question: str = "What is red?", box: dict[str, Any] | None = None) -> Trajectory:
    """A trajectory that crops the question's picture and answers."""
    box = dict(box or CROP)
    observation = Observation("img_2 (60x40)", ("img_2",), latency_s=0.02, backend="pillow")
    written = f"<think>closer</think>\n<tool_call>\n{json.dumps({'name': 'crop', 'arguments': box})}\n</tool_call>"
    return Trajectory(
        question,
        [
            Turn(written, ToolCall("crop", box), observation=observation, span=Span(0, 20)),
            Turn("<think>seen</think>\n<response>a box</response>", answer="a box", span=Span(30, 36)),
        ],
        [ImageRecord("img_1", *SIZE), ImageRecord("img_2", box["width"], box["height"], "crop", "img_1")],
        "answer",
    )


def asked(script: str, question: str, **fields: Any) -> Trajectory:
    """The trajectory of ``script`` (``tests.steps``) for ``question``."""
    return replace(trajectory(script), question=question, **fields)


def write_lines(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def rollouts(folder: Path, step: int, *trajectories: Trajectory, samples: int = 2, **fields: Any) -> Path:
    """A dump as verl writes it for an ``osvl_*`` trainer; ``samples`` of a prompt follow each other."""
    rows = [
        {
            "input": "",
            "output": "",
            "gts": "right",
            "score": 0.5,
            "step": step,
            "uid": f"u{n // samples}_{n % samples}_0",
        }
        | {"trajectory": made.to_dict(), "reward": {"score": 0.5, "accuracy": 0.0, "unscored": "", "stop": ""}}
        | fields
        for n, made in enumerate(trajectories)
    ]
    return write_lines(folder / f"{step}.jsonl", rows)


def evaluation(path: Path, *trajectories: Trajectory, scores: Sequence[float] = (), world: str = "calm") -> Path:
    """A file as ``osvl eval --out`` writes it; the answer is right where the score is 1."""
    scores = scores or [1.0] * len(trajectories)
    rows = [
        {"world": world, "index": n, "accepted": ["right"], "trajectory": made.to_dict()}
        | {"reward": {"score": score, "format": 1.0, "accuracy": float(score == 1), "query": None, "unscored": False}}
        for n, (made, score) in enumerate(zip(trajectories, scores, strict=True))
    ]
    return write_lines(path, rows)


def questions(path: Path, *asked: tuple[str, str, bytes]) -> Path:
    """A file of questions from (question, answer, picture)."""
    rows = [
        {
            "data_source": "test",
            "prompt": [{"role": "user", "content": f"<image>{question}"}],
            "images": [{"bytes": data}],
            "agent_name": "osvl_agent",
            "reward_model": {"style": "rule", "ground_truth": answer},
            "extra_info": {"index": n, "split": "test", "evidence": [], "hops": 1, "view": "plain"},
        }
        for n, (question, answer, data) in enumerate(asked)
    ]
    write_parquet(rows, RL_SCHEMA, path)
    return path


def conversations(path: Path, *rows: tuple[list[tuple[str, str]], list[bytes]]) -> Path:
    """SFT data from (messages as (role, content), pictures)."""
    written = [
        {
            "messages": [{"role": role, "content": content} for role, content in messages],
            "images": [{"bytes": data} for data in pictures],
            "tools": "[]",
        }
        for messages, pictures in rows
    ]
    write_parquet(written, SFT_SCHEMA, path)
    return path
