"""What the builders of GCompris activities share: entries of its QML boards, and the credits of its pictures."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from osvl_plugins.corpus.page import Fact, Page
from osvl_plugins.corpus.rcc import Archive
from osvl_plugins.corpus.world import fold
from osvl_plugins.errors import CorpusError

SOURCE = "gcompris-qt-data"
ACTIVITIES = "gcompris/src/activities"
MAX_PIXELS = 16_000_000

# From wide to narrow.
_PLACES = ("continent", "region", "country", "city")
_PAIR = re.compile(r'"(\w+)"\s*:\s*(?:qsTr\(\s*)?"((?:[^"\\]|\\.)*)"')
_CREDIT = re.compile(r"^(Copyright|License|Source):[ ]*(.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Credit:
    """Who made a picture, under which licence, and where it is from."""

    author: str
    licence: str
    origin: str


UNKNOWN_CREDIT = Credit("not listed by GCompris", "as the package", "")


def open_activity(folder: Path, activity: str) -> Archive:
    """The resource archive of an activity in an unpacked gcompris-qt-data package.

    Raises ``CorpusError`` when it is not there or not readable.
    """
    path = folder / "usr" / "share" / "gcompris-qt" / "rcc" / f"{activity}.rcc"
    if not path.is_file():
        raise CorpusError(f"{folder}: the package has no activity {activity!r}")
    return Archive(path)


def board_entries(qml: str) -> list[dict[str, str]]:
    """The string values of each entry of a board's list, in order; an entry starts with its opening brace."""
    entries = [dict(_PAIR.findall(part)) for part in re.split(r"\{", qml)]
    return [{key: re.sub(r"\\(.)", r"\1", value) for key, value in entry.items()} for entry in entries if entry]


def credits_by_file(readme: str) -> dict[str, Credit]:
    """Credit of each file that a README of the activity lists, by file name without folders."""
    found: dict[str, Credit] = {}
    for block in re.split(r"\n\s*\n", readme):
        head, marker, files = block.partition("Files:")
        if not marker:
            continue
        values = dict(_CREDIT.findall(head))
        credit = Credit(values.get("Copyright", ""), values.get("License", ""), values.get("Source", ""))
        for line in files.splitlines():
            if line.strip():
                found[line.strip().rsplit("/", 1)[-1]] = credit
    return found


def read_image(archive: Archive, path: str) -> Image.Image:
    """A picture of the archive, RGBA.

    Raises ``CorpusError`` when it is not a readable picture or over 16 million pixels.
    """
    try:
        image = Image.open(io.BytesIO(archive.read(path)))
        if image.width * image.height > MAX_PIXELS:
            raise CorpusError(f"{path}: over {MAX_PIXELS} pixels")
        return image.convert("RGBA")
    except (OSError, ValueError) as error:
        raise CorpusError(f"{path}: not a readable picture: {error}") from error


def first_sentence(text: str) -> str:
    """The first sentence of ``text``; all of it when there is no second one."""
    match = re.search(r"^.{20,}?(?<!\bSt)(?<!\bMt)(?<!\bU\.S)[.!?](?=\s+[A-Z“])", text, re.DOTALL)
    return match.group(0) if match else text


class Places:
    """Finds the country, region or continent that a text names, by title or by demonym."""

    def __init__(self, pages: dict[str, Page]) -> None:
        self._pages = pages
        self._ids = {fold(page.title): page.id for page in pages.values() if page.kind in _PLACES}
        for page in [page for page in pages.values() if page.kind == "country"]:
            demonym = fold(fact.value) if (fact := page.fact("demonym")) is not None else ""
            # "Indian" is the demonym of a territory too; it names the country that it is made from.
            if demonym and (demonym not in self._ids or demonym.startswith(fold(page.title))):
                self._ids[demonym] = page.id

    def named(self, text: str) -> dict[str, list[Page]]:
        """Pages of the places that ``text`` names, by kind."""
        spaced = " " + re.sub(r"[^\w]+", " ", fold(text)) + " "
        found: dict[str, Page] = {}
        # Longer names first, and each takes its words away: "South Africa" does not name Africa.
        for name in sorted(self._ids, key=len, reverse=True):
            if f" {name} " in spaced:
                page = self._pages[self._ids[name]]
                found[page.id] = page
                spaced = spaced.replace(f" {name} ", " ")
        return {kind: [page for page in found.values() if page.kind == kind] for kind in _PLACES}

    def facts(self, text: str) -> tuple[Fact, ...]:
        """Where ``text`` says that something is: the widest place that it names; nothing when it names two such."""
        named = self.named(text)
        kind = next((kind for kind in _PLACES if named[kind]), None)
        if kind is None or len(named[kind]) > 1:
            return ()
        place = named[kind][0]
        if kind == "city":
            # A capital alone places the thing in its country, not in the city itself.
            link = place.fact("country")
            if link is None or link.target is None:
                return ()
            kind, place = "country", self._pages[link.target]
        return (Fact(kind, place.title, place.id), *_of(place, "region", "continent"))


def _of(page: Page, *relations: str) -> tuple[Fact, ...]:
    return tuple(fact for fact in page.facts if fact.relation in relations)
