"""What a graph keeps of a page besides its links: a compressed record each, read one at a time."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence

from osvl_plugins.corpus.page import Fact, Page, Picture
from osvl_plugins.curation.graph.article import Article


def page_record(article: Article) -> bytes:
    """The record of an article."""
    facts = [(fact.relation, fact.value) for fact in article.facts]
    pictures = [(picture.file, picture.width, picture.height, picture.caption) for picture in article.pictures]
    content = (article.kind, article.lead, article.body, article.source, facts, pictures)
    return zlib.compress(json.dumps(content, ensure_ascii=False).encode("utf-8", "replace"))


def read_record(
    record: bytes,
    page_id: str,
    title: str,
    aliases: Sequence[str],
    targets: Mapping[str, str],
    size: tuple[int, int],
) -> Page:
    """The page of a record.

    ``targets``: page id by relation, of the facts that lead to a page. ``size``: width and height in pixels of the
    first picture, where the record does not know them.
    """
    kind, lead, body, source, facts, pictures = json.loads(zlib.decompress(record))
    shown = [Picture(file, width, height, caption) for file, width, height, caption in pictures]
    if shown and not shown[0].width:
        shown[0] = Picture(shown[0].file, *size, shown[0].caption)
    return Page(
        id=page_id,
        title=title,
        kind=kind,
        lead=lead,
        facts=tuple(Fact(relation, value, targets.get(relation)) for relation, value in facts),
        body=body,
        aliases=tuple(aliases),
        pictures=tuple(shown),
        source=source,
    )
