"""Rows that are no questions, files that are none, ids, and memory."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osvl_plugins.errors import OsvlError
from osvl_plugins.evaluation.benchmarks import KNOWN, count, find, read
from osvl_plugins.evaluation.benchmarks import rows as benchmark_rows
from osvl_plugins.evaluation.benchmarks.generic import GENERIC
from osvl_plugins.evaluation.benchmarks.source import Benchmark
from osvl_plugins.evaluation.question import BadRow, Question
from tests.data.released import picture
from tests.evaluation.benchmarks import files, published

GOOD = {"id": "good", "question": "Who?", "answer": "Ada"}


def reasons(argument: str) -> list[str]:
    """Why each row is none; nothing for one that is."""
    return [row.problem.partition(":")[0] if isinstance(row, BadRow) else "" for row in read(argument)]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"question": "  "}, "wrong_fields"),
        ({"question": None}, "wrong_fields"),
        ({"question": "x" * 100_001}, "too_long"),
        ({"question": "\ud800?"}, "not_unicode"),
        ({"question": "<image> and <image>"}, "image_count"),
        ({"answer": ""}, "wrong_fields"),
        ({"answer": None}, "wrong_fields"),
        ({"answer": [[], [" "]]}, "wrong_fields"),
        ({"answer": ["x" * 99_999, "yy"]}, "too_long"),
        ({"answer": "\udfff"}, "not_unicode"),
        ({"image": "gone.jpg"}, "picture_missing"),
        ({"image": [None]}, "picture_missing"),
        ({"image": "https://example.org/a.jpg"}, "picture_missing"),
        ({"image": "broken.jpg"}, "picture_unreadable"),
        ({"image": [files.base64_of(picture(1))] * 33}, "too_many_images"),
    ],
    ids=str,
)
def test_a_row_that_is_no_question_is_given_with_its_reason_and_id(
    changed: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    files.write_file(tmp_path / "broken.jpg", picture(1)[:200])
    bad = {**GOOD, "id": "bad", **changed}
    file = files.write_lines(tmp_path / "mine.jsonl", [GOOD, bad, {**GOOD, "id": "after"}])
    first, found, last = read(str(file))
    assert isinstance(found, BadRow)
    assert (found.benchmark, found.id, found.index) == ("mine", "bad", 1)
    assert found.problem.startswith(f"{reason}: ")
    assert [question.id for question in (first, last) if isinstance(question, Question)] == ["good", "after"]
    assert count(str(file)) == 3


def test_lines_that_cannot_be_read_are_rows_all_the_same(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text(f'{{"question": \n[1]\n{json.dumps(GOOD)}\n"words"\n')
    assert reasons(str(file)) == ["bad_json", "wrong_fields", "", "wrong_fields"]
    assert [row.id for row in read(str(file))] == ["row-0", "row-1", "good", "row-3"]
    assert count(str(file)) == 4


def test_a_broken_row_of_two_questions_is_two_cases(tmp_path: Path) -> None:
    form = published.ALL["livevqa"]
    form.write(tmp_path, form.cases())
    file = tmp_path / "News/benchmark.json"
    rows = json.loads(file.read_text())
    rows[0]["level2_qa"] = None
    rows.append("nothing")
    file.write_text(json.dumps(rows))
    cases = [(row.id, isinstance(row, BadRow)) for row in read(f"livevqa={file}")]
    assert cases == [
        ("n0/1", False),
        ("n0/2", True),
        ("n1/1", False),
        ("n1/2", False),
        ("row-2/1", True),
        ("row-2/2", True),
    ]
    assert count(f"livevqa={file}") == len(cases)


@pytest.mark.parametrize("form", ["simplevqa", "vdr", "fvqa", "infoseek", "browsecomp_vl", "livevqa", "livevqa flat"])
def test_without_its_picture_a_question_about_one_is_none(form: str, tmp_path: Path) -> None:
    known = published.ALL[form]
    path = known.write(tmp_path, [case._replace(picture=None) for case in known.cases()])
    found = reasons(f"{known.name}={path}")
    assert len(found) == len(known.cases())
    # An entry of an archive without content is there, and no picture.
    assert set(found) <= {"picture_missing", "picture_unreadable"}


FIELDS = (
    "role",
    "content",
    "ground_truth",
    "candidate_answers",
    "hops",
    "evidence",
    "question",
    "range",
    "bytes",
    "path",
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.sampled_from(["<image>", "[", "user", "x" * 5000, "/\0", "http://[", "data:;base64,?", "iVBORw0KGgo=", ".."]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3), inner, max_size=2)
        | st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, inner))
    ),
    max_leaves=6,
)
LAYOUTS = {
    f"{benchmark.name} {number}": (benchmark, layout)
    for benchmark in (*KNOWN.values(), Benchmark("own", (), GENERIC))
    for number, layout in enumerate(benchmark.layouts)
}


@pytest.mark.parametrize("name", LAYOUTS)
@settings(max_examples=20)
@given(data=st.data())
def test_whatever_a_row_holds_it_is_a_case(
    name: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    benchmark, layout = LAYOUTS[name]
    # Half of the rows are sound but for one value, or the first that is not would hide the others.
    row = {column: data.draw(VALUES | st.just("a")) for column in (*layout.needs, *layout.also) if column}
    if "prompt" in row:
        row["prompt"] = data.draw(VALUES | st.just([{"role": "user", "content": "a"}]))
        row["reward_model"] = data.draw(VALUES | st.just({"ground_truth": "a"}))
    file = files.write_lines(tmp_path_factory.mktemp("any") / "own.jsonl", [row])
    found = list(read(str(file) if benchmark.name == "own" else f"{benchmark.name}={file}"))
    assert len(found) == len(layout.asks) or (benchmark.only != "all" and not found)
    json.dumps([(one.id, getattr(one, "problem", "")) for one in found], ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("gone.jsonl", "there is no such file"),
        ("simplvqa={folder}", "simplvqa: no known benchmark.*simplevqa, vdr"),
        ("vdr={folder}/gone", "there is no such file or folder"),
        ("vdr={folder}", r"holds none of testmini\*\.parquet.*name the file of questions itself"),
        (
            "vdr={folder}/mine.jsonl",
            "no file of vdr; it has the columns question, answer, and should have id, question",
        ),
        ("{folder}/other.jsonl", r"no file of other; it has the columns text, and should have .*question, answer"),
        ("{folder}/empty.jsonl", r"it has the columns \(none\)"),
        ("{folder}/notes.txt", r"ends in one of \.parquet"),
        ("{folder}/torn.parquet", "not a readable parquet file"),
    ],
)
def test_what_is_not_there_or_another_file_is_said(argument: str, said: str, tmp_path: Path) -> None:
    files.write_lines(tmp_path / "mine.jsonl", [{"question": "Who?", "answer": "Ada"}])
    files.write_lines(tmp_path / "other.jsonl", [{"text": "Who?"}])
    for name in ("empty.jsonl", "notes.txt", "torn.parquet"):
        (tmp_path / name).write_bytes(b"")
    # At once, before the first question is asked for.
    with pytest.raises(OsvlError, match=said):
        read(argument.format(folder=tmp_path))


def test_a_path_with_an_equals_sign_is_a_path(tmp_path: Path) -> None:
    file = files.write_lines(tmp_path / "vdr=mine.jsonl", [GOOD])
    assert find(str(file)).benchmark.name == "vdr=mine"


@given(names=st.lists(st.sampled_from(["a", "a#2", "a#2#2", "b", "", None, 7, "7"]), max_size=12))
def test_ids_are_unique_and_the_same_on_every_reading(
    names: list[str | int | None], tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows = [{**GOOD, "id": "first"}, *({**GOOD, "id": name} for name in names)]
    file = files.write_lines(tmp_path_factory.mktemp("ids") / "mine.jsonl", rows)
    ids = [row.id for row in read(str(file))]
    assert len(set(ids)) == len(rows)
    assert ids == [row.id for row in read(str(file))]


def test_equal_words_about_other_pictures_have_ids_of_their_own(tmp_path: Path) -> None:
    rows = [{"question": "Who?", "answer": "Ada", "image": picture(seed)} for seed in (1, 2, 1)]
    one, other, again = (row.id for row in read(str(files.write_parquet(tmp_path / "mine.parquet", rows))))
    assert one != other
    assert again == f"{one}#2"


def noise(rows: int, size: int) -> Iterator[dict[str, Any]]:
    for seed in range(rows):
        data = picture(seed)
        # What follows the end of a JPEG is not looked at.
        yield {"question": "Who?", "answer": str(seed), "image": data + bytes([seed]) * (size - len(data))}


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "files"])
def test_few_pictures_stand_in_memory_at_a_time(kind: str, tmp_path: Path) -> None:
    rows, size = 32, 2 * 2**20
    made = list(noise(rows, size))
    file = tmp_path / f"mine.{'parquet' if kind == 'parquet' else 'jsonl'}"
    if kind == "parquet":
        files.write_parquet(file, made, rows_in_group=4)
    elif kind == "jsonl":
        files.write_lines(file, [{**row, "image": files.base64_of(row["image"])} for row in made])
    else:
        for number, row in enumerate(made):
            files.write_file(tmp_path / f"{number}.jpg", row["image"])
        files.write_lines(file, [{**row, "image": f"{number}.jpg"} for number, row in enumerate(made)])
    del made
    in_arrow = pa.total_allocated_bytes()
    held = []
    tracemalloc.start()
    try:
        for question in read(str(file)):
            assert isinstance(question, Question)
            assert [len(image) for image in question.images] == [size]
            held.append(tracemalloc.get_traced_memory()[0] + pa.total_allocated_bytes() - in_arrow)
    finally:
        tracemalloc.stop()
    assert len(held) == rows
    # A parquet file's group of rows as it is unpacked and as it is read; of the others, a line with its picture.
    assert max(held) < (12 if kind == "parquet" else 5) * size


def test_a_large_file_of_json_is_not_read_to_count_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = files.write_lines(tmp_path / "mine.jsonl", [GOOD] * 3)
    assert count(str(file)) == 3
    monkeypatch.setattr(benchmark_rows, "MAX_COUNTED_BYTES", file.stat().st_size - 1)
    assert count(str(file)) is None
