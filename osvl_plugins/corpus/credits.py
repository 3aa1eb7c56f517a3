"""SOURCES.md of a corpus: what it was made from, under which licences, and who made each picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from osvl_plugins.corpus.page import Page
from osvl_plugins.corpus.sources import Source
from osvl_plugins.corpus.world import SourcePicture

SOURCES_FILE = "SOURCES.md"


def sources_table(
    sources: Sequence[Source],
    versions: Mapping[str, str],
    pages: Mapping[str, Page],
    pictures: Mapping[str, Sequence[SourcePicture]],
) -> str:
    """The text of SOURCES.md: a row for each source and for each picture."""
    lines = [
        "# Sources of this corpus",
        "",
        "Made from the packages below, each under its own licence. A page names its source.",
        "",
        _row("source", "package", "version", "gives", "licence", "pages", "pictures"),
        _row(*["---"] * 7),
    ]
    for source in sources:
        own = [page for page in pages.values() if page.source == source.name]
        count = sum(len(page.pictures) for page in own)
        package = f"{source.registry}: {source.name}"
        cells = (source.origin, package, versions[source.name], source.gives, source.licence, len(own), count)
        lines.append(_row(*cells))
    lines += ["", "## Pictures", "", _row("file", "shows", "author", "licence", "origin"), _row(*["---"] * 5)]
    for page_id, given in pictures.items():
        for picture, stored in zip(given, pages[page_id].pictures, strict=True):
            lines.append(_row(stored.file, picture.caption, picture.author, picture.licence, picture.origin))
    return "\n".join([*lines, ""])


def _row(*cells: object) -> str:
    return "| " + " | ".join(_escaped(cells)) + " |"


def _escaped(cells: Iterable[object]) -> Iterable[str]:
    return (str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells)
