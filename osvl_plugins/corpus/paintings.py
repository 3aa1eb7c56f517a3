"""Builder: paintings and their artists from GCompris's jigsaw puzzles, which are put together again here."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from PIL import Image

from osvl_plugins.corpus.gcompris import (
    ACTIVITIES,
    SOURCE,
    UNKNOWN_CREDIT,
    board_entries,
    credits_by_file,
    open_activity,
    read_image,
)
from osvl_plugins.corpus.page import Fact, Page
from osvl_plugins.corpus.rcc import Archive
from osvl_plugins.corpus.world import Name, SourcePicture, World
from osvl_plugins.errors import CorpusError

ACTIVITY = "paintings"
# Pixels of the board on which the pieces' centres are given as fractions.
BOARD = (702, 515)
# The source spells these names in two ways or wrongly.
SPELLING = {
    "Katsushika Hokusa": "Katsushika Hokusai",
    "Pieter Brugel": "Pieter Bruegel",
    "Bazille": "Frédéric Bazille",
    "Vincent Van Gogh": "Vincent van Gogh",
}

_INSTRUCTION = re.compile(r'property string instruction\s*:\s*qsTr\("((?:[^"\\]|\\.)*)"\)')
_LABEL = re.compile(r"(?P<artist>[^,]+), (?P<title>.+?)(?: - (?P<years>\d{4}(?:-\d{2,4})?)\.?)?")


def add_paintings(folder: Path, world: World) -> None:
    """Add every painting and artist of an unpacked gcompris-qt-data package.

    Raises ``CorpusError`` when the activity is not there or not readable.
    """
    archive = open_activity(folder, ACTIVITY)
    root = f"{ACTIVITIES}/{ACTIVITY}/resource"
    credits = credits_by_file(archive.read(f"{root}/image/README").decode("utf-8", "replace"))
    artists: dict[str, Name] = {}
    works: dict[str, list[tuple[Name, str]]] = defaultdict(list)
    for board in archive.paths:
        if not re.fullmatch(rf"{root}/board/board\d+_0\.qml", board):
            continue
        qml = archive.read(board).decode("utf-8", "replace")
        artist_name, title, years = read_label(qml)
        if artist_name not in artists:
            artists[artist_name] = world.claim(artist_name, "artist")
        artist = artists[artist_name]
        name = world.claim(title, "painting", artist_name)
        works[artist_name].append((name, years))
        image, pieces = assemble(archive, root, qml)
        credit = credits.get(pieces[0], UNKNOWN_CREDIT)
        facts = [artist.fact("artist"), *([Fact("year", years)] if years else [])]
        lead = f"{title} is a work by {artist_name}{f', made in {years}' if years else ''}."
        page = Page(name.id, name.title, "painting", lead, tuple(facts), "", source=SOURCE)
        picture = SourcePicture(image, f"{title} by {artist_name}", credit.licence, credit.author, credit.origin)
        world.add(page, picture)
    for artist_name, made in works.items():
        world.add(_artist(artists[artist_name], made))


def read_label(qml: str) -> tuple[str, str, str]:
    """Artist, title and years (``1830-1833``, or empty) of a board.

    Raises ``CorpusError`` when the board has no label of that form.
    """
    found = _INSTRUCTION.search(qml)
    label = _LABEL.fullmatch(found.group(1)) if found else None
    if label is None:
        raise CorpusError("a board of paintings has no label; the package has another layout")
    artist = SPELLING.get(label["artist"], label["artist"])
    return artist, label["title"], _full_years(label["years"] or "")


def assemble(archive: Archive, root: str, qml: str) -> tuple[Image.Image, list[str]]:
    """The painting of a board, RGB, without margin, and the file names of its pieces.

    Raises ``CorpusError`` when the board names no pieces or one is missing.
    """
    canvas = Image.new("RGBA", BOARD)
    pieces: list[str] = []
    for entry in board_entries(qml):
        if not {"pixmapfile", "x", "y"} <= entry.keys():
            continue
        piece = read_image(archive, f"{root}/{entry['pixmapfile']}")
        left = round(float(entry["x"]) * BOARD[0] - piece.width / 2)
        top = round(float(entry["y"]) * BOARD[1] - piece.height / 2)
        canvas.alpha_composite(piece, (max(left, 0), max(top, 0)))
        pieces.append(entry["pixmapfile"].rsplit("/", 1)[-1])
    box = canvas.getchannel("A").getbbox()
    if box is None:
        raise CorpusError("a board of paintings has no pieces; the package has another layout")
    painting = Image.new("RGB", BOARD, "white")
    painting.paste(canvas, mask=canvas.getchannel("A"))
    return painting.crop(box), pieces


def _full_years(years: str) -> str:
    # "1503-19" means 1503-1519.
    first, dash, last = years.partition("-")
    return first + dash + first[: 4 - len(last)] + last if dash else first


def _artist(name: Name, made: list[tuple[Name, str]]) -> Page:
    titles = ", ".join(work.plain for work, _ in made)
    facts = [made[0][0].fact("only work here")] if len(made) == 1 else []
    dated = sorted((years, work) for work, years in made if years)
    if len(made) > 1 and len(dated) == len(made) and dated[0][0][:4] != dated[1][0][:4]:
        facts.append(dated[0][1].fact("earliest work here"))
    facts.append(Fact("number of works here", str(len(made))))
    lead = f"{name.plain} is an artist, known for {titles}."
    return Page(name.id, name.title, "artist", lead, tuple(facts), "", source=SOURCE)
