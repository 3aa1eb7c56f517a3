"""Rows of the pipeline: nothing is lost on the way through Parquet."""

from __future__ import annotations

import io

import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from osvl_plugins.curation.candidate import (
    REJECT_SCHEMA,
    Candidate,
    Hop,
    Reject,
    Repair,
    Rewrite,
    candidates,
    candidates_table,
    rejects_table,
    stable_id,
)

TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
INT = st.integers(-(2**63), 2**63 - 1)
TEXTS = st.lists(TEXT, max_size=3).map(tuple)
VALUE = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
NUMBER = st.floats(allow_nan=False)
HOP = st.builds(Hop, TEXT, st.booleans(), TEXT, INT)
REWRITE = st.builds(Rewrite, TEXT, TEXT, TEXT, INT)
REPAIR = st.builds(Repair, TEXT, st.dictionaries(TEXT, VALUE, max_size=3), TEXT, NUMBER, NUMBER)
CANDIDATE = st.builds(
    Candidate,
    id=TEXT,
    split=st.sampled_from(["train", "held_out"]),
    source=TEXT,
    path=TEXTS,
    hops=st.lists(HOP, max_size=3).map(tuple),
    attribute=TEXT,
    answer=TEXT,
    accepted=TEXTS,
    canonical=TEXT,
    question=TEXT,
    rewrites=st.lists(REWRITE, max_size=3).map(tuple),
    image=st.binary(max_size=20),
    image_source=TEXT,
    image_licence=TEXT,
    view=TEXT,
    repair=st.none() | REPAIR,
    evidence=TEXTS,
    verdicts=st.dictionaries(TEXT, st.booleans(), max_size=3),
    trajectories=TEXTS,
    seed=INT,
)


@given(st.lists(CANDIDATE, max_size=3))
def test_rows_come_out_of_parquet_as_they_went_in(rows: list[Candidate]) -> None:
    file = io.BytesIO()
    pq.write_table(candidates_table(rows), file)
    assert candidates(pq.read_table(file)) == rows


@given(CANDIDATE)
def test_a_row_is_its_dict(row: Candidate) -> None:
    assert Candidate.from_dict(row.to_dict()) == row


def test_equal_verdicts_are_equal_bytes_in_any_order() -> None:
    one = Candidate("1", "train", verdicts={"a": True, "b": False})
    assert one.to_dict() == Candidate("1", "train", verdicts={"b": False, "a": True}).to_dict()


def test_rejects_are_a_table() -> None:
    reject = Reject("1", "question", "no_attribute", "page x")
    table = rejects_table([reject])
    assert (table.schema, [Reject(**row) for row in table.to_pylist()]) == (REJECT_SCHEMA, [reject])


def test_an_id_tells_apart_what_joins_to_the_same_text() -> None:
    assert stable_id("ab", "c") != stable_id("a", "bc")
    assert stable_id("graph", ("a", "b"), [Hop("x")]) == stable_id("graph", ["a", "b"], (Hop("x"),))
