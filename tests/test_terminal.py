"""Pictures as half blocks, and text that cannot steer the terminal."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from osvl_plugins.terminal import half_blocks, printable

RED, BLUE = "2;255;0;0", "2;0;0;255"


def two_colours(width: int, height: int) -> Image.Image:
    image = Image.new("RGB", (width, height), "red")
    image.paste("blue", (0, height // 2, width, height))
    return image


def test_a_character_shows_the_upper_pixel_on_the_lower_one() -> None:
    assert half_blocks(two_colours(2, 2), 10, 10) == f"\x1b[38;{RED};48;{BLUE}m▀" * 2 + "\x1b[0m"


def test_an_odd_last_row_stands_on_the_terminals_own_background() -> None:
    assert half_blocks(Image.new("RGB", (1, 1), "red"), 10, 10) == f"\x1b[38;{RED};49m▀\x1b[0m"


def test_a_large_picture_keeps_its_colours_in_place() -> None:
    lines = half_blocks(two_colours(400, 400), 20, 40).split("\n")
    assert lines[0] == f"\x1b[38;{RED};48;{RED}m▀" * 20 + "\x1b[0m"
    assert lines[-1] == f"\x1b[38;{BLUE};48;{BLUE}m▀" * 20 + "\x1b[0m"
    assert len(lines) == 10


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1"])
def test_any_kind_of_picture_is_shown(mode: str) -> None:
    assert "▀" in half_blocks(Image.new(mode, (3, 3)), 10, 10)


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 60), st.integers(1, 30))
def test_a_picture_stays_within_its_bounds(width: int, height: int, columns: int, rows: int) -> None:
    lines = re.sub(r"\x1b\[[0-9;]*m", "", half_blocks(Image.new("RGB", (width, height)), columns, rows)).split("\n")
    assert len(lines) <= rows
    assert {len(line) for line in lines} <= set(range(1, columns + 1))


@given(st.text())
def test_printable_text_holds_no_control_character_but_tab_and_newline(text: str) -> None:
    assert all(char in "\t\n" or not (ord(char) < 32 or 127 <= ord(char) < 160) for char in printable(text))


def test_printable_text_keeps_its_words() -> None:
    assert printable("a\tb\nç 漢\x1b[2J") == "a\tb\nç 漢[2J"
