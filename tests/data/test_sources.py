"""Where the rows of a download lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from osvl_plugins.data.sources import SUBSETS, identity, rl_source, sft_sources, subset_name
from osvl_plugins.errors import OsvlError
from tests.data import released


@pytest.mark.parametrize("files", [released.HUB_FILES, released.REPOSITORY_FILES])
def test_both_layouts_have_the_seven_subsets(tmp_path: Path, files: dict[str, str]) -> None:
    released.write_sft(tmp_path, dict.fromkeys(files, 1), files)
    (tmp_path / "dataset_info.json").write_text('{"fvqa": {"columns": {"messages": "conversations"}}}')
    sources = sft_sources(tmp_path)
    assert tuple(source.name for source in sources) == SUBSETS
    assert all(source.folders == (source.file.parent, tmp_path) for source in sources)


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("new_fvqa", "fvqa"), ("WebQA", "webqa"), ("wikiart", "wiki_art"), ("wiki_art", "wiki_art"),
        ("LiveVQA", "livevqa"), ("demo_1k", "demo"), ("my data/1", "my_data_1"), ("", "unnamed"),
    ],
)  # fmt: skip
def test_a_subset_has_one_name(spelling: str, name: str) -> None:
    assert subset_name(spelling) == name


def test_a_folder_of_one_subset_and_a_single_file_can_be_named(tmp_path: Path) -> None:
    released.write_sft(tmp_path, {"wiki_art": 1})
    for path in (tmp_path / "wiki_art", tmp_path / released.HUB_FILES["wiki_art"]):
        (source,) = sft_sources(path)
        assert (source.name, source.folders) == ("wiki_art", (tmp_path / "wiki_art",))


def test_other_files_are_named_by_their_folder(tmp_path: Path) -> None:
    for name in ("a/train.json", "b/train.json", "own.jsonl"):
        released.write_list(tmp_path / name, [released.sft_row(["1.jpg"])])
    assert [source.name for source in sft_sources(tmp_path)] == ["a", "b", "own"]


def test_two_files_of_one_subset_are_named(tmp_path: Path) -> None:
    released.write_sft(tmp_path, {"fvqa": 1})
    released.write_sft(tmp_path, {"fvqa": 1}, released.REPOSITORY_FILES)
    with pytest.raises(OsvlError, match="are both fvqa"):
        sft_sources(tmp_path)


def test_a_folder_without_rows_is_named(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(OsvlError, match="no JSON file whose rows have 'conversations'"):
        sft_sources(tmp_path)
    with pytest.raises(OsvlError, match="no JSON file whose rows have 'question'"):
        rl_source(tmp_path)


def test_several_files_of_questions_are_named(tmp_path: Path) -> None:
    rows, pictures = released.rl_rows(1)
    released.write_rl(tmp_path, rows, pictures)
    assert rl_source(tmp_path).name == "rl_data"
    (tmp_path / "copy.jsonl").write_bytes((tmp_path / "rl_data.jsonl").read_bytes())
    with pytest.raises(OsvlError, match="holds 2 files of questions"):
        rl_source(tmp_path)


def test_a_file_that_changed_is_another(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    seen = []
    for content in (bytes(200_000), b"x" + bytes(199_999), bytes(199_999) + b"x", bytes(200_001)):
        file.write_bytes(content)
        seen.append(identity(file))
    assert len({str(each) for each in seen}) == 4
