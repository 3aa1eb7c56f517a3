"""The preview: all that a person needs to judge a question, in a page that nothing in the data can break."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from osvl_plugins.curation.candidate import Candidate
from osvl_plugins.curation.preview import page, write
from osvl_plugins.errors import OsvlError
from tests.curation.conftest import Run
from tests.viewer.conftest import browser, open_page
from tests.viewer.screens import DESK, PHONE, Opener

__all__ = ("browser", "open_page")
TRUE = "i => Math.abs(i.clientWidth / i.clientHeight - i.naturalWidth / i.naturalHeight) < 0.05"
"""Whether a picture is there, in its shape."""
EVIL = "<img src=x onerror=alert(1)>\"'&</article><script>alert(2)</script>\u202e"


@pytest.fixture(scope="module")
def file(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("preview") / "preview.html"
    write(run.folder, out, 12, 0)
    return out


def row_of(run: Run, **changes: Any) -> Candidate:
    return replace(next(row for row in run.rows() if row.trajectories and row.repair), **changes)


def evil(run: Run) -> Candidate:
    row = row_of(run)
    return replace(
        row,
        **dict.fromkeys(("source", "attribute", "answer", "canonical", "question", "image_source", "view"), EVIL),
        image_licence=EVIL,
        accepted=(EVIL, EVIL + "!"),
        path=(EVIL,) * len(row.path),
        hops=tuple(hop._replace(relation=EVIL, anchor=EVIL) for hop in row.hops),
        rewrites=tuple(rewrite._replace(node=EVIL, description=EVIL, form=EVIL) for rewrite in row.rewrites),
        evidence=(EVIL,),
        verdicts={EVIL: False},
        trajectories=tuple(text.replace("The picture shows", "<script>alert(3)</script>") for text in row.trajectories),
    )


@pytest.mark.parametrize("size", [DESK, PHONE])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_the_screen_in_light_and_dark(
    open_page: Opener, file: Path, size: dict[str, int], scheme: str
) -> None:
    shown = open_page(file, viewport=size, color_scheme=scheme)
    for summary in shown.locator("summary").all():
        summary.click()
    assert shown.evaluate("document.documentElement.scrollWidth") <= size["width"]
    paper = shown.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, paper[4:-1].split(","))) < 3 * 128) == (scheme == "dark")
    assert shown.evaluate(f"[...document.images].every({TRUE})")


def test_a_question_is_shown_with_all_that_it_was_made_from(run: Run, open_page: Opener, tmp_path: Path) -> None:
    row, file = row_of(run), tmp_path / "one.html"
    file.write_text(page([row], 1, "run"), encoding="utf-8")
    shown = open_page(file)
    shown.locator("summary").click()
    text = shown.locator("article").inner_text()
    assert row.repair is not None
    for part in (row.question, row.answer, row.canonical, row.attribute, row.image_licence, row.repair.tool, *row.path):
        assert part in text
    for rewrite in row.rewrites:
        assert rewrite.description in text
        assert rewrite.form in text
    assert text.count("1 page fits") == len(row.rewrites)
    assert shown.locator("article img").count() == 2


def test_no_text_becomes_markup(run: Run, open_page: Opener, tmp_path: Path) -> None:
    file = tmp_path / "evil.html"
    file.write_text(page([evil(run)], 1, EVIL), encoding="utf-8")
    shown = open_page(file)
    assert shown.locator("script").count() == 0
    assert shown.locator("img").count() == 2
    assert shown.locator("article").count() == 1
    assert EVIL.replace("\u202e", "") in shown.locator("h2").inner_text()


def test_the_same_seed_draws_the_same_questions_and_another_others(run: Run, file: Path, tmp_path: Path) -> None:
    write(run.folder, tmp_path / "again.html", 12, 0)
    write(run.folder, tmp_path / "other.html", 12, 1)
    assert (tmp_path / "again.html").read_bytes() == file.read_bytes()
    assert (tmp_path / "other.html").read_bytes() != file.read_bytes()
    assert file.read_text("utf-8").count("<article") == 12


def test_a_run_without_questions_says_so(run: Run, tmp_path: Path) -> None:
    with pytest.raises(OsvlError, match="no question to show"):
        write(run.folder, tmp_path / "none.html", 0, 0)
