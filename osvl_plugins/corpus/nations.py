"""Records of npm's world-countries, typed: the one place that knows the layout of its JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osvl_plugins.errors import CorpusError

TRANSLATIONS = ("ara", "deu", "fra", "ita", "jpn", "por", "rus", "spa", "zho")


@dataclass(frozen=True)
class Currency:
    """A currency as one country lists it."""

    code: str
    name: str
    symbol: str


@dataclass(frozen=True)
class Nation:
    """A country or territory. ``area_km2`` is None where the source does not know it."""

    code: str
    name: str
    official: str
    aliases: tuple[str, ...]
    independent: bool
    capitals: tuple[str, ...]
    continent: str
    subregion: str
    currencies: tuple[Currency, ...]
    languages: tuple[str, ...]
    borders: tuple[str, ...]
    area_km2: float | None
    demonym: str
    top_level_domain: str
    calling_code: str
    landlocked: bool


def read_nations(folder: Path) -> list[Nation]:
    """The nations of an unpacked world-countries package, by name.

    Raises ``CorpusError`` when the folder does not hold the package or its layout is another one.
    """
    try:
        records = json.loads((folder / "package" / "countries.json").read_text(encoding="utf-8"))
        nations = [_nation(record) for record in records]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorpusError(f"{folder}: not a readable world-countries package: {error!r}") from error
    return sorted(nations, key=lambda nation: nation.name)


def _nation(record: dict[str, Any]) -> Nation:
    name = record["name"]
    native = [native[form] for native in name["native"].values() for form in ("common", "official")]
    translated = [record["translations"][code]["common"] for code in TRANSLATIONS if code in record["translations"]]
    spellings = [spelling for spelling in record["altSpellings"] if spelling != record["cca2"]]
    aliases = dict.fromkeys([name["official"], *native, *spellings, *translated])
    suffixes = record["idd"].get("suffixes", [])
    return Nation(
        code=record["cca3"],
        name=name["common"],
        official=name["official"],
        aliases=tuple(alias for alias in aliases if alias and alias != name["common"]),
        independent=bool(record["independent"]),
        capitals=tuple(capital for capital in record["capital"] if capital),
        continent=record["region"],
        subregion=record["subregion"],
        currencies=tuple(
            Currency(code, currency["name"], currency["symbol"]) for code, currency in record["currencies"].items()
        ),
        languages=tuple(record["languages"].values()),
        borders=tuple(record["borders"]),
        area_km2=float(record["area"]) if record["area"] > 0 else None,
        demonym=record["demonyms"].get("eng", {}).get("m", ""),
        top_level_domain=record["tld"][0] if len(record["tld"]) == 1 else "",
        calling_code=record["idd"]["root"] + suffixes[0] if len(suffixes) == 1 else "",
        landlocked=record["landlocked"],
    )
