"""The runner: nothing is lost, made twice, or different because of who worked on it when."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from osvl_plugins.backends.locks import FileLock
from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.curation.candidate import Candidate, StageContext, StageResult, candidates_table
from osvl_plugins.curation.cluster import held_signals, over_shards, session
from osvl_plugins.curation.folder import LOCK, STAGES, UNFINISHED, RunFolder
from osvl_plugins.curation.graph.build import build_atlas_graph
from osvl_plugins.curation.pipeline import run
from osvl_plugins.curation.shard import ATTEMPTS, advance, open_shop
from osvl_plugins.curation.stages import paths, rewrite
from osvl_plugins.curation.stages.rewrite import RewriteSettings
from osvl_plugins.curation.stages.unique import find_repeats
from osvl_plugins.curation.worlds import counterfactual
from osvl_plugins.errors import OsvlError, SettingError
from tests.curation.runs import SMALL, command, digests, job, without_ray

Context = StageContext[RewriteSettings]
RUN_S = 240


@pytest.fixture(scope="module")
def graph(atlas: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("graph") / "graph"
    build_atlas_graph(atlas, folder)
    return folder


@pytest.fixture(scope="module")
def whole(atlas: Corpus, graph: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbed, shard after shard."""
    folder = tmp_path_factory.mktemp("whole") / "out"
    with pytest.MonkeyPatch.context() as patch:
        without_ray(patch)
        assert run(job(folder, graph, atlas)).failures == []
    return folder


@pytest.fixture
def local(monkeypatch: pytest.MonkeyPatch) -> None:
    without_ray(monkeypatch)


def test_every_row_is_kept_or_let_go_by_every_stage(whole: Path) -> None:
    folder = RunFolder(whole)
    before: list[str] = []
    for stage in STAGES:
        kept, gone = [row.id for row in folder.rows(stage)], [reject.id for reject in folder.rejects(stage)]
        if stage == "paths":
            assert len(kept) + len(gone) == SMALL["draws"]
        else:
            assert Counter(kept) + Counter(gone) == Counter(before)
        before = kept
    assert len(before) == len(set(before)) > 0


@pytest.mark.usefixtures("local")
def test_imported_questions_join_once_whatever_the_shards(graph: Path, atlas: Corpus, tmp_path: Path) -> None:
    asked = [{"question": f"What is number {number}?", "answer": "Oslo", "image": "flag.png"} for number in range(5)]
    (tmp_path / "asked.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    atlas.picture("brazil").save(tmp_path / "flag.png")
    sets = [{"name": "asked", "path": str(tmp_path / "asked.jsonl"), "licence": "CC0-1.0"}]
    solver = {"no_tools": False, "one_image_search": False}
    given = job(tmp_path / "out", graph, atlas, draws=20, merge={"sets": sets}, filter=solver)
    assert run(given).failures == []
    imported = [row for row in RunFolder(given.folder).rows("merge") if row.source == "asked"]
    assert sorted(row.question for row in imported) == [row["question"] for row in asked]
    assert len({row.split for row in imported}) == 1


def test_no_page_is_on_a_path_or_an_answer_of_both_sides(graph: Path, atlas: Corpus, tmp_path: Path) -> None:
    shop = open_shop(job(tmp_path / "out", graph, atlas))
    asked = shop.stage("question")(paths.draw(0, 1500, shop.context(shop.settings.paths)).rows)
    pages: dict[str, set[str]] = {"train": set(), "held_out": set()}
    for row in asked.rows:
        fact = shop.graph.page(shop.graph.node(row.path[-1])).fact(row.attribute)
        assert fact is not None
        pages[row.split].update(row.path, [fact.target] if fact.target else [])
    assert pages["train"]
    assert pages["held_out"]
    assert not pages["train"] & pages["held_out"]


def test_a_question_is_there_once(whole: Path) -> None:
    asked = Counter((row.path, row.attribute) for row in RunFolder(whole).rows(STAGES[-1]))
    assert set(asked.values()) == {1}


@given(st.lists(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xy")), max_size=4), min_size=1, max_size=4))
def test_of_repetitions_the_first_stays_in_whatever_shard(shards: list[list[tuple[str, str]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / str(number) for number in range(len(shards))]
        for file, rows in zip(files, shards, strict=True):
            table = candidates_table(Candidate("1", "train", path=(path,), attribute=at) for path, at in rows)
            pq.write_table(table, file)
        repeats = find_repeats(files)
    left = [row for rows, gone in zip(shards, repeats, strict=True) for at, row in enumerate(rows) if at not in gone]
    assert left == list(dict.fromkeys(row for rows in shards for row in rows))


@pytest.mark.usefixtures("local")
def test_a_second_run_makes_nothing_again(whole: Path, graph: Path, atlas: Corpus) -> None:
    times = {file: file.stat().st_mtime_ns for file in whole.rglob("part-*")}
    run(job(whole, graph, atlas))
    assert {file: file.stat().st_mtime_ns for file in whole.rglob("part-*")} == times


@pytest.mark.usefixtures("local")
def test_what_is_missing_is_made_as_it_was(whole: Path, graph: Path, atlas: Corpus, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "out")
    shutil.copytree(whole, folder.path)
    folder.part("rewrite", 1).unlink()
    shutil.rmtree(folder.stage("ground"))
    for stage in STAGES[STAGES.index("ground") + 1 :]:
        shutil.rmtree(folder.stage(stage))
    (folder.stage("rewrite") / f"{UNFINISHED}part").write_bytes(b"half")
    run(job(folder.path, graph, atlas))
    assert digests(folder.path) == digests(whole)


@pytest.mark.usefixtures("local")
def test_another_setting_is_refused_and_named(whole: Path, graph: Path, atlas: Corpus) -> None:
    with pytest.raises(SettingError, match=r"curate\.settings\.seed: .*curate\.settings\.seed: 0, now 1"):
        run(job(whole, graph, atlas, seed=1))


@pytest.mark.usefixtures("local")
def test_another_graph_is_refused(whole: Path, atlas: Corpus, tmp_path: Path) -> None:
    build_atlas_graph(atlas.derive(counterfactual(atlas.pages, random.Random(0))), tmp_path / "graph")
    with pytest.raises(SettingError, match="graph"):
        run(job(whole, tmp_path / "graph", atlas))


@pytest.mark.usefixtures("local")
def test_a_folder_that_another_process_works_on_is_refused(whole: Path, graph: Path, atlas: Corpus) -> None:
    lock = FileLock.take(whole / LOCK)
    assert lock is not None
    try:
        with pytest.raises(OsvlError, match="another process"):
            run(job(whole, graph, atlas))
    finally:
        lock.release(remove=True)


@pytest.mark.usefixtures("local")
def test_a_folder_with_something_else_is_left_alone(graph: Path, atlas: Corpus, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(OsvlError, match="no run"):
        run(job(tmp_path, graph, atlas))
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.usefixtures("local")
def test_a_stage_that_raises_names_the_row_and_other_shards_go_on(
    whole: Path, graph: Path, atlas: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = [row.id for row in RunFolder(whole).rows("unique")][1]
    stage = rewrite.run

    def broken(rows: list[Candidate], context: Context) -> StageResult:
        if any(row.id == bad for row in rows):
            raise ZeroDivisionError("by nothing")
        return stage(rows, context)

    monkeypatch.setattr(rewrite, "run", broken)
    outcome = run(job(tmp_path / "out", graph, atlas))
    (failure,) = outcome.failures
    assert (failure.stage, failure.row, failure.error) == ("rewrite", bad, "ZeroDivisionError: by nothing")
    assert outcome.counts[STAGES[-1]].shards == SMALL["shards"] - 1
    monkeypatch.undo()
    without_ray(monkeypatch)
    assert run(job(tmp_path / "out", graph, atlas)).failures == []
    assert digests(tmp_path / "out") == digests(whole)


@pytest.mark.usefixtures("local")
@pytest.mark.parametrize("times", [0, 2])
def test_a_stage_that_loses_a_row_or_makes_it_twice_is_found_out(
    times: int, graph: Path, atlas: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = rewrite.run

    def broken(rows: list[Candidate], context: Context) -> StageResult:
        found = stage(rows, context)
        return StageResult(found.rows[1:] + found.rows[:1] * times, found.rejects)

    monkeypatch.setattr(rewrite, "run", broken)
    failures = run(job(tmp_path / "out", graph, atlas)).failures
    assert {failure.stage for failure in failures} == {"rewrite"}
    assert "are not the same" in failures[0].error
    assert not (RunFolder(tmp_path / "out").stage("ground")).exists()


@pytest.mark.usefixtures("local")
def test_a_shard_whose_worker_dies_again_and_again_is_given_up(
    whole: Path, graph: Path, atlas: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Died(BaseException):
        """Ends the process, as far as the shard can tell."""

    def dying(rows: list[Candidate], context: Context) -> StageResult:
        raise Died

    given = job(tmp_path / "out", graph, atlas)
    shutil.copytree(whole, given.folder)
    RunFolder(given.folder).part("rewrite", 0).unlink()
    monkeypatch.setattr(rewrite, "run", dying)
    for _ in range(ATTEMPTS):
        with pytest.raises(Died):
            advance(given, STAGES, 0, frozenset())
    failure = advance(given, STAGES, 0, frozenset()).failure
    assert failure is not None
    assert (failure.stage, failure.shard) == ("rewrite", 0)
    assert "died 3 times" in failure.error


@pytest.mark.timeout(900)
def test_an_item_whose_worker_dies_is_begun_again(tmp_path: Path) -> None:
    def work(item: dict[str, int]) -> str:
        import os

        if item["number"] == 1 and not (tmp_path / "died").exists():
            (tmp_path / "died").touch()
            os._exit(1)
        return str(item["number"])

    with session(2):
        assert sorted(over_shards(work, [{"number": number} for number in range(3)], 2)) == ["0", "1", "2"]


def finish(folder: Path, graph: Path, atlas: Corpus, parallel: int = 2) -> None:
    process = command(folder, graph, atlas, parallel)
    out, _ = process.communicate(timeout=RUN_S)
    assert process.returncode == 0, out.decode()


def wait_for_part(folder: Path, count: int, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None and len(list(folder.rglob("part-*.parquet"))) < count:
        time.sleep(0.01)


@pytest.mark.timeout(900)
def test_killed_twice_and_run_again_by_two_workers_gives_the_same_bytes(
    whole: Path, graph: Path, atlas: Corpus, tmp_path: Path
) -> None:
    for parts in (1, 14):
        process = command(tmp_path / "out", graph, atlas, 2)
        wait_for_part(tmp_path / "out", parts, process)
        process.kill()
        process.communicate(timeout=RUN_S)
    finish(tmp_path / "out", graph, atlas)
    assert digests(tmp_path / "out") == digests(whole)


@pytest.mark.timeout(900)
def test_a_terminated_run_leaves_no_process_and_goes_on_later(
    whole: Path, graph: Path, atlas: Corpus, tmp_path: Path
) -> None:
    process = command(tmp_path / "out", graph, atlas, 1)
    wait_for_part(tmp_path / "out", 2, process)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=RUN_S)
    assert process.returncode == 128 + signal.SIGTERM
    assert children
    assert psutil.wait_procs(children, timeout=60)[1] == []
    finish(tmp_path / "out", graph, atlas, parallel=1)
    assert digests(tmp_path / "out") == digests(whole)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_until_ray_has_started(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with held_signals() as came:
        signal.raise_signal(number)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as Ray does, with a handler of its own
    assert came == [number]
    assert signal.getsignal(number) is before


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_killed_at_twenty_random_moments_the_run_is_the_same(
    number: int, whole: Path, graph: Path, atlas: Corpus, tmp_path: Path
) -> None:
    moments, out, killed = random.Random(0), tmp_path / "out", 0
    start = time.monotonic()
    finish(tmp_path / "first", graph, atlas)
    usual_s = time.monotonic() - start
    while killed < 20:
        process = command(out, graph, atlas, 2)
        try:
            process.communicate(timeout=moments.uniform(0.1, 1.0) * usual_s)
        except subprocess.TimeoutExpired:
            process.send_signal(number)
            process.communicate(timeout=RUN_S)
            killed += 1
        if process.returncode == 0:
            assert digests(out) == digests(whole)
            shutil.rmtree(out)
    finish(out, graph, atlas)
    assert digests(out) == digests(whole)
