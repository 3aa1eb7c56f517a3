"""The whole pipeline over real Wikipedia articles, without the embedded corpus.

The sample has the articles and not their pictures: those are drawn here, under the names that the articles give. A CLIP
model with random weights stands where a real one would say what they show.
"""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from osvl_plugins.curation.folder import RunFolder
from osvl_plugins.curation.graph.build import Extras, build_dump
from osvl_plugins.curation.graph.sample import wiki_sample
from osvl_plugins.curation.graph.store import Graph
from osvl_plugins.curation.leaks import first_leak, titles_of
from osvl_plugins.curation.pipeline import run
from osvl_plugins.curation.settings import CurateSettings
from osvl_plugins.curation.shard import Job
from tests.curation.clip import save_clip
from tests.curation.runs import without_ray


def draw_pictures(graph: Graph, folder: Path) -> None:
    folder.mkdir()
    rng = random.Random(0)
    for node in range(len(graph)):
        for picture in graph.page(node).pictures:
            colour = (rng.randrange(256), rng.randrange(256), rng.randrange(256))
            Image.new("RGB", (320, 240), colour).save(folder / picture.file, "PNG")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    place = tmp_path_factory.mktemp("wiki")
    dump = [wiki_sample(Path(__file__).parents[2] / ".cache" / "sources")]
    build_dump(dump, place / "names")
    draw_pictures(Graph.open(place / "names"), place / "pictures")
    build_dump(dump, place / "graph", Extras(images=place / "pictures"))
    clip = save_clip(tmp_path_factory.mktemp("clip"))
    settings = {
        "preset": "small",
        "draws": 400,
        "shards": 2,
        "paths": {"edges": "links"},
        "ground": {"similarity_model": str(clip), "min_similarity": -1.0},
        "filter": {"no_tools": False, "one_image_search": False},
        "trajectories": {"tools": {"tools": ["crop"]}},
    }
    job = Job(place / "out", place / "graph", None, CurateSettings.model_validate(settings))
    with pytest.MonkeyPatch.context() as patch:
        without_ray(patch)
        assert run(job).failures == []
    return RunFolder(place / "out")


def test_questions_about_real_articles_come_out_at_the_end(folder: RunFolder) -> None:
    files = [folder.export / f"rl-{split}.parquet" for split in ("train", "held_out")]
    asked = [row["prompt"][-1]["content"] for file in files for row in pq.read_table(file).to_pylist()]
    assert sorted(asked) == sorted(f"<image>{row.question}" for row in folder.rows("trajectories"))
    assert len(asked) > 5


def test_they_name_no_article_of_their_path_and_not_the_answer(folder: RunFolder) -> None:
    graph = Graph.open(folder.path.parent / "graph")
    for row in folder.rows("trajectories"):
        names = [name for page in row.path for name in titles_of(graph.page(graph.node(page)))]
        assert first_leak(row.question, [*names, *row.accepted]) is None
        assert all(rewrite.fits == 1 for rewrite in row.rewrites)
