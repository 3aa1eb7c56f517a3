"""Builder: a paragraph on its nation's history for the pages of countries, from Debian's freeciv-data."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from osvl_plugins.corpus.world import World, fold
from osvl_plugins.errors import CorpusError

MAX_FILE_BYTES = 200_000

_FIELD = r'^{name}\s*=\s*_\("(?P<value>(?:[^"\\]|\\.)*)"\)'


def add_histories(folder: Path, world: World) -> None:
    """Append to each country's body the legend of the nation whose name is the country's demonym.

    Raises ``CorpusError`` when the folder does not hold freeciv's nations.
    """
    rulesets = sorted((folder / "usr" / "share" / "games" / "freeciv" / "nation").glob("*.ruleset"))
    if not rulesets:
        raise CorpusError(f"{folder}: no nations of freeciv in it; the package has another layout")
    legends = dict(filter(None, (read_legend(path) for path in rulesets)))
    demonyms: dict[str, list[str]] = {}
    for page in world.pages.values():
        demonym = page.fact("demonym") if page.kind == "country" else None
        if demonym is not None:
            demonyms.setdefault(fold(demonym.value), []).append(page.id)
    for demonym_key, page_ids in demonyms.items():
        # A demonym shared by several countries does not say whose history it is.
        if demonym_key in legends and len(page_ids) == 1:
            page = world.pages[page_ids[0]]
            world.pages[page.id] = replace(page, body=f"{page.body}\n\n{legends[demonym_key]}".strip())


def read_legend(path: Path) -> tuple[str, str] | None:
    """Folded name and legend of a nation, or None when the ruleset has no legend.

    Raises ``CorpusError`` when the file is not readable or over 200,000 bytes.
    """
    if path.stat().st_size > MAX_FILE_BYTES:
        raise CorpusError(f"{path.name}: over {MAX_FILE_BYTES} bytes; not a ruleset of a nation")
    text = path.read_text(encoding="utf-8", errors="replace")
    name, legend = _field(text, "name"), _field(text, "legend")
    return (fold(name), legend) if name and legend else None


def _field(text: str, name: str) -> str:
    match = re.search(_FIELD.format(name=name), text, re.MULTILINE | re.DOTALL)
    if match is None:
        return ""
    # A backslash joins lines; "?context:" before a name is for translators only.
    value = re.sub(r"\\\n", "", match["value"]).replace('\\"', '"').replace("\\n", " ")
    return re.sub(r"^\?\w+:", "", " ".join(value.split()))
