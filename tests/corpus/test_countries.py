from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from osvl_plugins.corpus.countries import add_countries
from osvl_plugins.corpus.histories import add_histories
from osvl_plugins.corpus.world import World
from osvl_plugins.errors import CorpusError

SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 30 20"><rect width="30" height="20" fill="#ce1126"/></svg>'


def record(code: str, name: str, area: float, **other: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "name": {"common": name, "official": f"Republic of {name}", "native": {}},
        "cca2": code[:2],
        "cca3": code,
        "independent": True,
        "tld": [f".{code[:2].lower()}"],
        "currencies": {"MXN": {"name": "Mexican peso", "symbol": "$"}},
        "idd": {"root": "+5", "suffixes": ["2"]},
        "capital": [f"{name} City"],
        "altSpellings": [code[:2], f"Old {name}"],
        "region": "Americas",
        "subregion": "North America",
        "languages": {"spa": "Spanish"},
        "translations": {"deu": {"official": "", "common": f"{name}ien"}},
        "borders": [],
        "area": area,
        "demonyms": {"eng": {"m": f"{name}n", "f": f"{name}n"}},
        "landlocked": False,
    }
    return base | other


def world_of(folder: Path, *records: dict[str, Any]) -> World:
    package = folder / "package"
    (package / "data").mkdir(parents=True)
    (package / "countries.json").write_text(json.dumps(records))
    for each in records:
        (package / "data" / f"{each['cca3'].lower()}.svg").write_text(SVG)
    world = World()
    add_countries(folder, world)
    return world


def answer(world: World, page: str, relation: str) -> tuple[str, str | None] | None:
    fact = world.pages[page].fact(relation)
    return (fact.value, fact.target) if fact is not None else None


def test_the_largest_and_the_smallest_neighbour_are_by_area(tmp_path: Path) -> None:
    world = world_of(
        tmp_path,
        record("AAA", "Alba", 5.0, borders=["BBB", "CCC", "DDD"]),
        record("BBB", "Bora", 7.0, borders=["AAA"]),
        record("CCC", "Cora", 900.0),
        record("DDD", "Dora", 20.0),
    )
    assert answer(world, "alba", "largest neighbour") == ("Cora", "cora")
    assert answer(world, "alba", "smallest neighbour") == ("Bora", "bora")
    assert answer(world, "bora", "only neighbour") == ("Alba", "alba")
    assert answer(world, "cora", "largest neighbour") is None


def test_what_has_two_answers_is_no_fact(tmp_path: Path) -> None:
    two = {"MXN": {"name": "Mexican peso", "symbol": "$"}, "EUR": {"name": "Euro", "symbol": "€"}}
    alba = record("AAA", "Alba", 5.0, currencies=two, languages={"a": "Ay", "b": "Bee"}, capital=["One", "Two"])
    world = world_of(tmp_path, alba)
    assert [answer(world, "alba", relation) for relation in ("currency", "language", "capital")] == [None] * 3


def test_a_territory_is_not_the_largest_country(tmp_path: Path) -> None:
    world = world_of(
        tmp_path,
        record("AAA", "Alba", 5.0),
        record("BBB", "Bora", 7.0),
        record("CCC", "Cora", 900.0, independent=False),
    )
    assert answer(world, "north-america", "largest country") == ("Bora", "bora")
    assert answer(world, "spanish-language", "smallest country") == ("Alba", "alba")
    assert answer(world, "mexican-peso", "largest user") == ("Cora", "cora")


def test_a_capital_called_like_its_country_is_told_apart(tmp_path: Path) -> None:
    world = world_of(tmp_path, record("AAA", "Alba", 5.0, capital=["Alba"]))
    assert answer(world, "alba", "capital") == ("Alba", "alba-city")
    assert world.pages["alba-city"].title == "Alba (city)"


def test_a_country_is_known_under_its_other_names(tmp_path: Path) -> None:
    assert world_of(tmp_path, record("AAA", "Alba", 5.0)).pages["alba"].aliases == (
        "Republic of Alba",
        "Old Alba",
        "Albaien",
    )


def test_a_flag_is_drawn_512_pixels_wide(tmp_path: Path) -> None:
    (flag,) = world_of(tmp_path, record("AAA", "Alba", 5.0)).pictures["alba"]
    assert flag.image.width == 512
    assert flag.image.getpixel((100, 100)) == (0xCE, 0x11, 0x26)


def test_another_layout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="not a readable world-countries package"):
        world_of(tmp_path, {"name": {}, "cca3": "AAA"})


def test_a_nations_legend_ends_the_page_of_the_country_with_its_demonym(tmp_path: Path) -> None:
    world = world_of(tmp_path, record("AAA", "Alba", 5.0), record("BBB", "Bora", 7.0))
    nations = tmp_path / "usr" / "share" / "games" / "freeciv" / "nation"
    nations.mkdir(parents=True)
    (nations / "alban.ruleset").write_text(
        'name=_("?adjective:Alban")\nlegend=_("Alba was \\"old\\"\\\n and green.")\n'
    )
    add_histories(tmp_path, world)
    assert world.pages["alba"].body.endswith('\n\nAlba was "old" and green.')
    assert "green" not in world.pages["bora"].body


def test_a_package_without_nations_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no nations"):
        add_histories(tmp_path, World())
