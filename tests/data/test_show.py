"""A row for a person."""

from __future__ import annotations

from pathlib import Path

from osvl_plugins.data.show import show
from tests.data import released
from tests.data.rows import rl, sft


def test_a_trajectory_is_shown_turn_by_turn() -> None:
    text = "\n".join(show(sft(pictures=[released.picture(1, (40, 30)), b"damaged"]), None))
    assert "fvqa.parquet, row 0: sft, fvqa, fvqa:0" in text
    headings = [line for line in text.splitlines() if line.startswith("--- ")]
    assert headings[:4] == ["--- system ---", "--- user ---", "--- assistant ---", "--- tool ---"]
    assert "tools: crop, image_search, text_search, python_interpreter" in text
    assert "picture 1: 40x30 JPEG" in text
    assert "picture 2: cannot be read" in text


def test_a_question_is_shown_with_what_is_right() -> None:
    text = "\n".join(show(rl(answer="Oslo"), None))
    assert "--- accepted answer ---\nOslo" in text
    assert "'split': 'train'" in text


def test_pictures_are_written_as_they_are(tmp_path: Path) -> None:
    picture = released.picture(1, kind="PNG")
    lines = list(show(sft(pictures=[picture, b"damaged"]), tmp_path / "seen"))
    assert (tmp_path / "seen" / "1.png").read_bytes() == picture
    assert (tmp_path / "seen" / "2.bin").read_bytes() == b"damaged"
    assert str(tmp_path / "seen" / "1.png") in lines[-2]


def test_text_cannot_steer_the_terminal() -> None:
    assert "\x1b" not in "\n".join(show(sft(last="\x1b[2J<response>x</response>"), None))


def test_a_broken_row_is_shown_too() -> None:
    row = sft()
    row.values["messages"][1]["content"] = None
    row.values["tools"] = "[{"
    row.values["images"] = [None]
    text = "\n".join(show(row, None))
    assert "tools: [{" in text
    assert "picture 1: cannot be read" in text
