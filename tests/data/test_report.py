"""What became of rows, counted."""

from __future__ import annotations

import json
import pickle

from hypothesis import given
from hypothesis import strategies as st

from osvl_plugins.data.report import REASONS, Rejected, Report

EVENTS = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["kept", *REASONS])))


def report_of(events: list[tuple[str, str]]) -> Report:
    report = Report()
    for subset, what in events:
        if what == "kept":
            report[subset].kept += 1
        else:
            report[subset].rejected[what] += 1
    return report


@given(first=EVENTS, second=EVENTS)
def test_counts_of_parts_add_up_whatever_their_order(
    first: list[tuple[str, str]], second: list[tuple[str, str]]
) -> None:
    both = report_of(first)
    both.add(report_of(second))
    assert both.to_dict() == report_of([*second, *first]).to_dict()
    assert both.kept + both.rejected == len(first) + len(second)


@given(events=EVENTS)
def test_a_report_is_read_back_as_it_was(events: list[tuple[str, str]]) -> None:
    report = report_of(events)
    text = json.dumps(report.to_dict())
    assert json.dumps(Report.from_dict(json.loads(text)).to_dict()) == text


def test_a_person_reads_the_most_frequent_reason_first() -> None:
    report = report_of([("fvqa", "kept"), *[("fvqa", "roles")] * 2, ("fvqa", "bad_json"), ("a", "kept")])
    report["fvqa"].warnings["odd"] += 1
    assert list(report.lines()) == [
        "a: 1 rows kept, 0 rejected",
        "fvqa: 1 rows kept, 3 rejected (2 roles, 1 bad_json)",
        "  kept in spite of (1 odd)",
        "all: 2 rows kept, 3 rejected",
    ]


def test_a_rejection_is_short_travels_and_can_be_written() -> None:
    rejected = Rejected("not_unicode", "\ud800" + "x" * 10_000)
    copy = pickle.loads(pickle.dumps(rejected))
    assert (copy.reason, copy.detail) == (rejected.reason, rejected.detail)
    assert len(copy.detail.encode()) <= 300
