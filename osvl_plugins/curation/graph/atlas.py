"""The embedded corpus as articles: facts that lead to a page are its hyperlinks and its labelled edges."""

from __future__ import annotations

from collections.abc import Iterator

from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.corpus.page import Page
from osvl_plugins.curation.graph.article import Article, ArticleFact, ArticleLink, NodeFlag, Redirect


def corpus_articles(corpus: Corpus) -> Iterator[Article | Redirect]:
    """All pages of a corpus, by id; titles and aliases keep their spelling."""
    for page_id in sorted(corpus.pages):
        page = corpus.pages[page_id]
        yield _article(page, corpus)
        yield from (Redirect(alias, page.title) for alias in page.aliases)


def _article(page: Page, corpus: Corpus) -> Article:
    facts, links = [], dict[str, ArticleLink]()
    at = 0
    for fact in page.facts:
        title = corpus.pages[fact.target].title if fact.target is not None else None
        facts.append(ArticleFact(fact.relation, fact.value, title))
        # A link stands where its value stands in the line of all facts.
        at = page.fact_box.index(f"{fact.relation}: {fact.value}", at) + len(fact.relation) + 2
        if title is not None:
            links.setdefault(title, ArticleLink(title, fact.value, at))
    flags = NodeFlag.INFOBOX if facts else NodeFlag(0)
    if page.pictures and (page.id, 0) not in corpus.ambiguous_pictures:
        flags |= NodeFlag.PICTURE
    return Article(
        id=page.id,
        title=page.title,
        kind=page.kind,
        lead=page.lead,
        facts=tuple(facts),
        links=tuple(links.values()),
        flags=flags,
        pictures=page.pictures,
        body=page.body,
        source=page.source,
    )
