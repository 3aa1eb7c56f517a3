from __future__ import annotations

from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.corpus.image_index import ImageIndex
from osvl_plugins.corpus.text_index import TextIndex
from osvl_plugins.tools.trial import try_tools


def test_every_tool_works_on_the_embedded_corpus(atlas: Corpus) -> None:
    trials = try_tools(atlas)
    assert [trial.tool for trial in trials] == ["crop", "sharpen", "image_search", "text_search", "visit"]
    assert all(trial.worked for trial in trials)


def test_a_search_that_answers_without_finding_the_page_has_not_worked(atlas: Corpus) -> None:
    blind = Corpus(
        atlas.folder, atlas.pages, TextIndex.build(atlas.pages), ImageIndex([], []), frozenset(), atlas.fingerprint
    )
    assert [trial.tool for trial in try_tools(blind) if not trial.worked] == ["image_search"]
