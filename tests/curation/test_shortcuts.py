"""The report on shortcuts, over a small run on the real corpus."""

from __future__ import annotations

import json
import random

import pytest

from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.curation.folder import RunFolder
from osvl_plugins.curation.graph.build import build_atlas_graph
from osvl_plugins.curation.pipeline import run
from osvl_plugins.curation.shortcuts import ATTACKS, BOTH, CANONICAL, FILTERED, REWRITTEN, Shortcuts, measure
from osvl_plugins.curation.worlds import counterfactual
from osvl_plugins.errors import OsvlError
from tests.curation.runs import job, without_ray


@pytest.fixture(scope="module")
def folder(atlas: Corpus, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    path = tmp_path_factory.mktemp("run")
    build_atlas_graph(atlas, path / "graph")
    with pytest.MonkeyPatch.context() as patch:
        without_ray(patch)
        run(job(path / "out", path / "graph", atlas, draws=200, shards=2))
    return RunFolder(path / "out")


@pytest.fixture(scope="module")
def report(folder: RunFolder, atlas: Corpus) -> Shortcuts:
    return measure(folder, atlas)


def share(report: Shortcuts, variant: str, attack: str) -> float:
    return report.solved[variant][attack].rate.value


def test_rewriting_hides_the_last_hop(report: Shortcuts) -> None:
    attack = "image search, 1 hop"
    assert share(report, CANONICAL, attack) > 2 * share(report, REWRITTEN, attack)
    assert share(report, CANONICAL, attack) > 2 * share(report, BOTH, attack)


def test_the_filter_leaves_nothing_that_its_own_tests_solve(report: Shortcuts) -> None:
    assert share(report, FILTERED, "the question alone") == share(report, FILTERED, "one image search") == 0


def test_the_final_questions_can_be_solved_with_all_hops(report: Shortcuts) -> None:
    assert share(report, FILTERED, "image search, 4 hops") > 0.4


def test_fewer_hops_than_the_path_has_solve_little(report: Shortcuts) -> None:
    for length, found in report.by_length.items():
        assert found[length - 1].solved <= found[length].solved


def test_without_a_picture_there_is_no_image_search(report: Shortcuts) -> None:
    assert set(ATTACKS) - set(report.solved[CANONICAL]) == {"one image search"}
    assert set(report.solved[BOTH]) == set(ATTACKS)


def test_every_wording_is_asked_of_the_same_questions(report: Shortcuts) -> None:
    asked = {count.asked for variant in (CANONICAL, REWRITTEN, BOTH) for count in report.solved[variant].values()}
    assert len(asked) == 1


def test_the_tables_say_what_the_json_says(report: Shortcuts) -> None:
    data = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    found = data["solved"][BOTH]["image search, 2 hops"]
    line = next(line for line in report.to_markdown().splitlines() if line.startswith("| image search, 2 hops"))
    assert f"{100 * found['value']:.1f} % [{100 * found['low']:.1f}, {100 * found['high']:.1f}]" in line
    assert found["value"] == found["solved"] / found["asked"]


def test_a_limit_takes_the_first_questions(folder: RunFolder, atlas: Corpus) -> None:
    assert measure(folder, atlas, limit=3).solved[BOTH]["one text search"].asked == 3


def test_another_corpus_is_refused(folder: RunFolder, atlas: Corpus) -> None:
    with pytest.raises(OsvlError, match="not of the corpus"):
        measure(folder, atlas.derive(counterfactual(atlas.pages, random.Random(0))))
