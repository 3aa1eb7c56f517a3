"""Imported sets: every row arrives or has a reason, and nothing is on both sides."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from osvl_plugins.curation.candidate import Candidate, Split, StageContext, StageResult
from osvl_plugins.curation.stages.merge import MergeSettings, keys, read
from osvl_plugins.errors import OsvlError


def picture(shade: int, kind: str = "PNG", size: tuple[int, int] = (64, 48)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (shade, 99, 99)).save(buffer, kind)
    return buffer.getvalue()


def settings(*files: tuple[Path, str], **values: Any) -> MergeSettings:
    sets = [{"path": str(file), "name": name, "licence": "CC0"} for file, name in files]
    return MergeSettings.model_validate({"sets": sets, **values})


def merged(made: MergeSettings, taken: Mapping[str, Split] | None = None, shards: int = 1) -> StageResult:
    context: Any = StageContext(0, made, None, None)  # type: ignore[arg-type]
    parts = [read(shard, shards, taken or {}, context) for shard in range(shards)]
    return StageResult([row for part in parts for row in part.rows], [r for part in parts for r in part.rejects])


def write_lines(file: Path, rows: Sequence[Any]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def write_parquet(file: Path, rows: Sequence[tuple[str, int]]) -> Path:
    data = [{"question": question, "answer": "yes", "image": {"bytes": picture(shade)}} for question, shade in rows]
    pq.write_table(pa.Table.from_pylist(data), file)
    return file


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(picture(1))
    (tmp_path / "b.jpg").write_bytes(picture(2, "JPEG"))
    return tmp_path


def test_lists_lines_and_parquet_are_read_alike(beside: Path) -> None:
    rows = [{"question": "<image>What is  it?", "answer": ["a", "b"], "image": "a.png"}]
    lines = write_lines(beside / "one.jsonl", rows)
    listed = beside / "two.json"
    listed.write_text(json.dumps([{"question": "Who?", "answer": 7, "image": ["b.jpg"]}]))
    table = write_parquet(beside / "three.parquet", [("Where?", 3)])
    found, rejects = merged(settings((lines, "livevqa"), (listed, "fvqa"), (table, "webqa")))
    assert rejects == []
    assert [(row.source, row.question, row.accepted, row.image_licence) for row in found] == [
        ("livevqa", "What is it?", ("a", "b"), "CC0"),
        ("fvqa", "Who?", ("7",), "CC0"),
        ("webqa", "Where?", ("yes",), "CC0"),
    ]
    assert [row.image for row in found] == [picture(1), picture(2, "JPEG"), picture(3)]
    assert [row.image_source for row in found] == ["livevqa: a.png", "fvqa: b.jpg", "webqa"]


def test_fields_may_have_other_names(beside: Path) -> None:
    file = write_lines(beside / "q.jsonl", [{"query": "Who?", "gold": "x", "img": "a.png"}])
    one = {"path": str(file), "name": "s", "question": "query", "answer": "gold", "image": "img"}
    assert [row.answer for row in merged(MergeSettings.model_validate({"sets": [one]})).rows] == ["x"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"answer": "x", "image": "a.png"}, "wrong_fields"),
        ({"question": "<image> ", "answer": "x", "image": "a.png"}, "wrong_fields"),
        ({"question": "q?", "answer": [], "image": "a.png"}, "wrong_fields"),
        ({"question": "q?", "answer": {"a": 1}, "image": "a.png"}, "wrong_fields"),
        ({"question": "q?", "answer": "x" * 5000, "image": "a.png"}, "too_long"),
        ({"question": "q?", "answer": "\ud800", "image": "a.png"}, "not_unicode"),
        ({"question": "q?", "answer": "x", "image": "none.png"}, "picture_missing"),
        ({"question": "q?", "answer": "x", "image": "../secret.png"}, "picture_missing"),
        ({"question": "q?", "answer": "x", "image": "bad.png"}, "picture_unreadable"),
        ({"question": "q?", "answer": "x"}, "picture_missing"),
        ("no mapping", "wrong_fields"),
    ],
)
def test_a_bad_row_has_a_reason_and_harms_no_other(beside: Path, row: Any, reason: str) -> None:
    (beside / "bad.png").write_bytes(picture(1)[:40])
    good = {"question": "Who?", "answer": "x", "image": "a.png"}
    found, rejects = merged(settings((write_lines(beside / "q.jsonl", [row, good]), "s")))
    assert [one.question for one in found] == ["Who?"]
    assert [reject.reason for reject in rejects] == [reason]


def test_a_large_picture_is_scaled_and_any_format_becomes_jpeg_or_png(tmp_path: Path) -> None:
    (tmp_path / "large.webp").write_bytes(picture(1, "WEBP", (2400, 1600)))
    (tmp_path / "small.webp").write_bytes(picture(2, "WEBP"))
    rows = [{"question": f"{name}?", "answer": "x", "image": f"{name}.webp"} for name in ("large", "small")]
    for row in merged(settings((write_lines(tmp_path / "q.jsonl", rows), "s"))).rows:
        image = Image.open(io.BytesIO(row.image))
        assert image.format == "JPEG"
        assert image.width * image.height <= 1024 * 1024


@given(rows=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=20), shards=st.integers(1, 5))
def test_no_picture_and_no_question_is_on_both_sides_and_shards_change_nothing(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int]], shards: int
) -> None:
    listed = [(f"Question {asked}?", shade) for asked, shade in rows]
    file = write_parquet(tmp_path_factory.mktemp("set") / "s.parquet", [*listed, ("Other?", 200)])
    graph = Candidate("g", "held_out", question="question 0", image=picture(100))
    taken: dict[str, Split] = dict.fromkeys(keys(graph), "held_out")
    made = settings((file, "s"), held_out_share=0.5)
    whole = merged(made, taken)
    parts = merged(made, taken, shards)
    assert sorted(row.id for row in whole.rows) == sorted(row.id for row in parts.rows)
    assert {row.id: row for row in whole.rows} == {row.id: row for row in parts.rows}
    sides: dict[str, set[str]] = {}
    for row in [*whole.rows, graph]:
        for key in keys(row):
            sides.setdefault(key, set()).add(row.split)
    assert all(len(side) == 1 for side in sides.values())
    assert len({(row.question, row.image) for row in whole.rows}) == len(whole.rows) == len({*listed}) + 1
    assert {reject.reason for reject in whole.rejects} <= {"repeated"}


def test_a_row_between_both_sides_of_the_graph_is_rejected(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "s.parquet", [("Who?", 1), ("What?", 2)])
    taken: dict[str, Split] = {
        keys(Candidate("a", "train", question="who"))[0]: "train",
        f"picture {hashlib.sha256(picture(1)).hexdigest()}": "held_out",
    }
    found, rejects = merged(settings((file, "s")), taken)
    assert [row.question for row in found] == ["What?"]
    assert [reject.reason for reject in rejects] == ["both_sides"]


def test_about_the_share_is_held_out(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "s.parquet", [(f"Question {n}?", n) for n in range(200)])
    found = merged(settings((file, "s"), held_out_share=0.25)).rows
    assert 30 <= sum(row.split == "held_out" for row in found) <= 70


def test_without_sets_there_is_nothing(tmp_path: Path) -> None:
    assert merged(MergeSettings()) == ([], [])


def test_a_set_that_is_not_there_says_so(tmp_path: Path) -> None:
    for name in ("none.jsonl", "none.parquet"):
        with pytest.raises(OsvlError, match=name):
            merged(settings((tmp_path / name, "s")))


def test_no_set_may_take_the_graph_s_name() -> None:
    with pytest.raises(ValidationError, match="made here"):
        MergeSettings.model_validate({"sets": [{"path": "x", "name": "graph"}]})
