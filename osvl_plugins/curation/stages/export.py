"""The last stage: what is left becomes training data.

    rl-<split>.parquet         questions in verl's RL format, with all accepted answers
    sft-<split>.parquet        expert trajectories in verl's SFT format, in the wire profile of the settings
    sharegpt-<split>.jsonl     the same trajectories for LLaMA-Factory, with images/ and dataset_info.json
    credits.jsonl              source and licence of each question's picture
    card.md, card.json         the data card

Splits are ``train`` and ``held_out``. Files are the same bytes whenever they are made from the same rows.
"""

from __future__ import annotations

import asyncio
import datetime
import hashlib
import json
import re
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, get_args

import pyarrow as pa
from pydantic import Field, model_validator

from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.curation.candidate import Candidate, Split, StageContext
from osvl_plugins.curation.card import Side, make_card, write_card
from osvl_plugins.curation.examples import Example
from osvl_plugins.curation.folder import RunFolder
from osvl_plugins.curation.rows import RL_SCHEMA, sft_row
from osvl_plugins.curation.stages.trajectories import TrajectoriesSettings
from osvl_plugins.data.parquet import RowWriter
from osvl_plugins.data.sharegpt import DATASET_INFO, IMPORT_SCHEMA, ROLES, Conversation, Turn, factory_row
from osvl_plugins.errors import SettingError
from osvl_plugins.protocol import IMAGE_MARK, format_answer
from osvl_plugins.settings import Settings
from osvl_plugins.tools.build import build_toolset
from osvl_plugins.tools.toolset import ToolSet
from osvl_plugins.trajectory import Trajectory
from osvl_plugins.wire import Sft, Wire, WireName, build_wire

STAGE = "export"
SPLITS: tuple[Split, ...] = get_args(Split)
CREDITS, DATASETS, IMAGES = "credits.jsonl", "dataset_info.json", "images"
_REWARD = pa.struct([("style", pa.string()), ("ground_truth", pa.list_(pa.string()))])
CURATED_RL_SCHEMA = RL_SCHEMA.set(RL_SCHEMA.get_field_index("reward_model"), pa.field("reward_model", _REWARD))
"""``RL_SCHEMA`` with a list of accepted answers."""
_THOUGHT = re.compile(r"\A\s*<think>(.*?)</think>", re.DOTALL)
_SAID_BY = {ours: theirs for theirs, ours in ROLES.items()}


class ExportSettings(Settings):
    """How trajectories are written."""

    wire: WireName = "native"
    """Wire profile of the parquet files (``osvl_plugins.wire``); ShareGPT files are always in ``sft``."""
    date: datetime.date | None = Field(default=None)
    """The day that the wire profile ``rl`` names."""

    @model_validator(mode="after")
    def _dated(self) -> ExportSettings:
        if (self.wire == "rl") != (self.date is not None):
            raise ValueError("date goes with the wire profile rl, which names a day: 2026-01-31")
        return self


@dataclass(frozen=True)
class _Split:
    """The open files and the counts of one side."""

    sft: RowWriter
    rl: RowWriter
    sharegpt: IO[str]
    side: Side


def run(folder: RunFolder, out: Path, context: StageContext[ExportSettings]) -> None:
    """Write the rows of the stage before into ``out``, an empty folder.

    Raises ``OsvlError`` when that stage is not through, ``SettingError`` as the tools do that trajectories were made
    with.
    """
    made = TrajectoriesSettings.model_validate(folder.manifest.settings["trajectories"])
    tools = build_toolset(made.tools, context.corpus or _no_corpus)
    wire = build_wire(context.settings.wire, context.settings.date)
    try:
        with ExitStack() as files:
            splits = {split: _open(out, split, files) for split in SPLITS}
            credits = files.enter_context((out / CREDITS).open("w", encoding="utf-8"))
            for row in folder.rows("trajectories"):
                example = Example.from_json(row.trajectories[0]) if row.trajectories else None
                _write_question(row, splits[row.split])
                credits.write(_line(_credit(row)))
                if example is not None:
                    _write_example(row, example, splits[row.split], _Form(made, tools, wire, out))
                splits[row.split].side.add(row, example)
    finally:
        asyncio.run(tools.aclose())
    (out / DATASETS).write_text(json.dumps(_dataset_info(), indent=1) + "\n", encoding="utf-8")
    train, held_out = (splits[split].side for split in SPLITS)
    write_card(make_card(folder, context.graph.manifest.origin, train, held_out, wire.name), out)


@dataclass(frozen=True)
class _Form:
    made: TrajectoriesSettings
    tools: ToolSet
    wire: Wire
    out: Path


def _open(out: Path, split: Split, files: ExitStack) -> _Split:
    return _Split(
        files.enter_context(RowWriter(out / f"sft-{split}.parquet", IMPORT_SCHEMA)),
        files.enter_context(RowWriter(out / f"rl-{split}.parquet", CURATED_RL_SCHEMA)),
        files.enter_context((out / f"sharegpt-{split}.jsonl").open("w", encoding="utf-8")),
        Side(),
    )


def _write_question(row: Candidate, split: _Split) -> None:
    split.rl.add(
        {
            "data_source": row.source,
            "prompt": [{"role": "user", "content": f"{IMAGE_MARK}{row.question}"}],
            "images": [{"bytes": row.image}],
            "agent_name": "osvl_agent",
            "reward_model": {"style": "rule", "ground_truth": list(row.accepted)},
            "extra_info": {
                "index": split.rl.count,
                "split": row.split,
                "evidence": list(row.evidence),
                "hops": len(row.hops) if row.path else None,
                "view": row.view or None,
            },
        }
    )


def _write_example(row: Candidate, example: Example, split: _Split, form: _Form) -> None:
    task = example.replay(row, form.made.episode.images)
    said = {"subset": row.source, "id": row.id}
    split.sft.add(sft_row(task, _worded(example.trajectory, form.wire), form.tools, form.wire) | said)
    released = Sft()
    shown = sft_row(task, _worded(example.trajectory, released), form.tools, released)
    names = [_write_image(image["bytes"], form.out) for image in shown["images"]]
    split.sharegpt.write(_line(factory_row(_conversation(shown, names), names)))


def _worded(trajectory: Trajectory, wire: Wire) -> Trajectory:
    r"""``trajectory`` with the answer in a box, where the profile's instructions ask for one."""
    last = trajectory.turns[-1]
    assert last.answer is not None, "an example ends with an answer"
    if wire.name == "native" or "boxed{" in last.answer:
        return trajectory
    thought = _THOUGHT.match(last.text)
    text = format_answer(f"\\boxed{{{last.answer}}}", thought[1] if thought else "")
    return replace(trajectory, turns=[*trajectory.turns[:-1], replace(last, text=text)])


def _conversation(row: dict[str, Any], images: list[str]) -> Conversation:
    messages = row["messages"]
    system = messages[0]["content"] if messages[0]["role"] == "system" else ""
    said = [message for message in messages if message["role"] != "system"]
    turns = tuple(Turn(_SAID_BY[message["role"]], message["content"]) for message in said)
    return Conversation(system, turns, tuple(images), row["tools"], ())


def _write_image(data: bytes, out: Path) -> str:
    """Write a picture under a name made of its content, once; gives the name."""
    digest = hashlib.sha256(data).hexdigest()[:40]
    file = out / IMAGES / digest[:2] / f"{digest}.png"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return file.relative_to(out).as_posix()


def _credit(row: Candidate) -> dict[str, str]:
    return {
        "id": row.id,
        "split": row.split,
        "image": hashlib.sha256(row.image).hexdigest(),
        "source": row.image_source,
        "licence": row.image_licence,
        "view": row.view,
    }


def _dataset_info() -> dict[str, Any]:
    (form,) = DATASET_INFO.values()
    return {f"osvl_curated_{split}": {**form, "file_name": f"sharegpt-{split}.jsonl"} for split in SPLITS}


def _line(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"


def _no_corpus() -> Corpus:
    raise SettingError(
        "curate.trajectories.tools.backends", "must name live services: there is no embedded corpus behind the graph"
    )
