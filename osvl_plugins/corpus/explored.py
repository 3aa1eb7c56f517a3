"""Builders: monuments and animals, each a photo with a text, from GCompris's "explore" activities."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from osvl_plugins.corpus.gcompris import (
    ACTIVITIES,
    SOURCE,
    UNKNOWN_CREDIT,
    Places,
    board_entries,
    credits_by_file,
    first_sentence,
    open_activity,
    read_image,
)
from osvl_plugins.corpus.page import Page
from osvl_plugins.corpus.world import SourcePicture, World

# Boards about one country keep its pictures in a folder of this name.
COUNTRY_FOLDERS = {
    "egypt": "Egypt",
    "france": "France",
    "germany": "Germany",
    "india": "India",
    "usa": "United States",
}
# The list of credits spells these files otherwise.
CREDITED_AS = {"aulaPalatina.webp": "audaPalatina.webp"}


def add_monuments(folder: Path, world: World) -> None:
    """Add the monuments of an unpacked gcompris-qt-data package, linked to countries that are already there.

    Raises ``CorpusError`` when the activity is not there or not readable.
    """
    _add_explored(folder, world, "explore_monuments", "resource/README", "monument")


def add_animals(folder: Path, world: World) -> None:
    """Add the animals, likewise, linked to where their text says that they live."""
    _add_explored(folder, world, "explore_world_animals", "resource/animals/README", "animal")


def _add_explored(folder: Path, world: World, activity: str, readme: str, kind: str) -> None:
    archive = open_activity(folder, activity)
    root = f"{ACTIVITIES}/{activity}"
    credits = credits_by_file(archive.read(f"{root}/{readme}").decode("utf-8", "replace"))
    places = Places(world.pages)
    for board in archive.paths:
        if not re.fullmatch(rf"{root}/resource/board/board\d+\.qml", board):
            continue
        for entry in board_entries(archive.read(board).decode("utf-8", "replace")):
            if not {"title", "text", "image2"} <= entry.keys():
                continue
            file = PurePosixPath(entry["image2"].removeprefix("qrc:/"))
            image = read_image(archive, str(file)).convert("RGB")
            credit = credits.get(CREDITED_AS.get(file.name, file.name), UNKNOWN_CREDIT)
            plain = re.sub(r"^The ", "", entry["title"].split(", ")[0])
            name = world.claim(plain, kind)
            where = COUNTRY_FOLDERS.get(file.parent.name, "")
            facts = (places.facts(where) if where else ()) or places.facts(entry["text"])
            aliases = tuple(dict.fromkeys(title for title in (entry["title"], plain) if title != name.title))
            lead = first_sentence(entry["text"])
            body = entry["text"][len(lead) :].strip()
            picture = SourcePicture(image, plain, credit.licence, credit.author, credit.origin)
            world.add(Page(name.id, name.title, kind, lead, facts, body, aliases, source=SOURCE), picture)
