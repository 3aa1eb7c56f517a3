"""Small graphs, made through the store's own writer."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from osvl_plugins.corpus.page import Picture
from osvl_plugins.curation.graph.article import Article, ArticleFact, ArticleLink, NodeFlag, Redirect
from osvl_plugins.curation.graph.assemble import assemble
from osvl_plugins.curation.graph.files import Origin
from osvl_plugins.curation.graph.part import PartMaker
from osvl_plugins.curation.graph.store import Graph

ORIGIN = Origin("made", "CC0-1.0")
HEADER = """<mediawiki xml:lang="en"><siteinfo><dbname>testwiki</dbname><namespaces>
<namespace key="0" case="first-letter" /><namespace key="100" case="first-letter">Portal</namespace>
</namespaces></siteinfo>
"""


def graph_of(parts: Sequence[Iterable[Article | Redirect]], out: Path) -> Graph:
    """The graph of some parts."""
    out.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for number, items in enumerate(parts):
            maker = PartMaker()
            for item in items:
                maker.add(item)
            files.append(Path(folder) / str(number))
            maker.make().save(files[-1])
        assemble(files, out, Path(folder), ORIGIN)
    return Graph.open(out)


def article(
    number: int,
    links: Iterable[int] = (),
    facts: Iterable[tuple[str, int]] = (),
    flags: NodeFlag = NodeFlag.INFOBOX | NodeFlag.PICTURE,
    side: int = 600,
) -> Article:
    """Article "P<number>", which links to others by their numbers, and has labelled edges (relation, number)."""
    return Article(
        id=str(number),
        title=f"P{number}",
        kind="thing",
        lead=f"P{number} is a thing.",
        facts=(*(ArticleFact(relation, f"P{to}", f"P{to}") for relation, to in facts), ArticleFact("size", "7 m")),
        links=tuple(ArticleLink(f"P{to}", f"the {to}th", 10 * place) for place, to in enumerate(links)),
        flags=flags,
        pictures=(Picture(f"P{number}.jpg", side, side + 1, ""),) if flags & NodeFlag.PICTURE else (),
    )


def dump(pages: Iterable[str]) -> str:
    """A dump of pages that ``page`` or ``redirect`` made."""
    return HEADER + "".join(pages) + "</mediawiki>\n"


def page(page_id: int, title: str, text: str, namespace: int = 0) -> str:
    """A page of a dump."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return (
        f"  <page>\n    <title>{title}</title>\n    <ns>{namespace}</ns>\n    <id>{page_id}</id>\n    <revision>\n"
        f"      <id>9{page_id}</id>\n      <model>wikitext</model>\n"
        f'      <text bytes="{len(text)}" xml:space="preserve">{escaped}</text>\n    </revision>\n  </page>\n'
    )


def redirect(page_id: int, title: str, target: str, section: str = "") -> str:
    """A redirect of a dump."""
    made = page(page_id, title, f"#REDIRECT [[{target}{section}]]")
    return made.replace("    <revision>", f'    <redirect title="{target}" />\n    <revision>', 1)
