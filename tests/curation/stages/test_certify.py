"""Certificates against brute force over all pages, for forms that fit one page, many, or none."""

from __future__ import annotations

import random

import pytest

from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.curation.certify import Certifier, certifier
from osvl_plugins.curation.forms import Form, Line, Tie
from osvl_plugins.curation.graph.store import Graph
from osvl_plugins.curation.language.phrases import kind_word
from tests.curation.stages.making import BruteForce


@pytest.fixture(scope="module")
def found(atlas_graph: Graph) -> Certifier:
    return certifier(atlas_graph)


@pytest.fixture(scope="module")
def brute(atlas: Corpus) -> BruteForce:
    return BruteForce(atlas.pages)


def fitting(found: Certifier, form: Form) -> set[str]:
    return {found.graph.id(node) for node in found.fitting(form)}


def some_forms(atlas: Corpus, count: int) -> list[Form]:
    rng = random.Random(0)
    linked = [(page, fact) for page in atlas.pages.values() for fact in page.facts if fact.target is not None]
    forms = []
    for page, fact in rng.sample(linked, count):
        assert fact.target is not None
        lines = [Line(one.relation, one.value, one.target) for one in page.facts if one.target and one != fact]
        narrowed = tuple(rng.sample(lines, min(len(lines), rng.randrange(3))))
        forms.append(Form(Tie("inverse", fact.relation, fact.target), kind_word(page.kind), narrowed))
        forms.append(Form(Tie("forward", fact.relation, page.id)))
        forms.append(Form(Tie("link", "", page.id), kind_word(atlas.pages[fact.target].kind)))
    return forms


def test_what_fits_is_what_brute_force_finds(atlas: Corpus, found: Certifier, brute: BruteForce) -> None:
    sizes = set()
    for form in some_forms(atlas, 120):
        fits = fitting(found, form)
        assert fits == brute.fitting(form, form.tie.page, strict=False), form
        sizes.add(min(len(fits), 3))
    assert sizes == {1, 2, 3}


def test_what_states_a_form_fits_it(atlas: Corpus, found: Certifier, brute: BruteForce) -> None:
    for form in some_forms(atlas, 60):
        assert brute.fitting(form, form.tie.page, strict=True) <= fitting(found, form)


def test_a_country_with_several_languages_may_fit_where_no_line_says_so(found: Certifier) -> None:
    # Switzerland has no line "language", as it has four; its text names German.
    form = Form(Tie("inverse", "language", "german-language"), "country")
    fits = fitting(found, form)
    assert {"germany", "switzerland", "belgium"} <= fits


def test_a_form_is_its_json() -> None:
    form = Form(Tie("inverse", "capital", "oslo"), "country", (Line("region", "Northern Europe", "northern-europe"),))
    assert Form.from_json(form.to_json()) == form


def test_a_chain_reads_each_form_with_what_fits_the_one_before(found: Certifier) -> None:
    forms = [Form(Tie("inverse", "capital", "x"), "country"), Form(Tie("forward", "currency", "y"))]
    assert [found.graph.id(node) for node in found.chain("vaduz", forms)] == ["swiss-franc"]


def test_a_large_graph_is_searched_by_its_links(
    atlas_graph: Graph, monkeypatch: pytest.MonkeyPatch, atlas: Corpus
) -> None:
    monkeypatch.setattr("osvl_plugins.curation.certify.SMALL_GRAPH", 0)
    by_links, stated = Certifier(atlas_graph), BruteForce(atlas.pages)
    for form in some_forms(atlas, 60):
        fits = fitting(by_links, form)
        assert stated.fitting(form, form.tie.page, True) <= fits <= stated.fitting(form, form.tie.page, False)
