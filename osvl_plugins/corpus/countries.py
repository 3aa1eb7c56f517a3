"""Builder: countries with their flags, and the pages that they link to, from npm's world-countries.

A fact stands only where it has one answer: a country with two currencies has no ``currency``.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from osvl_plugins.corpus.linked import Linked, add_linked, claim_linked, region_phrase, square_km
from osvl_plugins.corpus.nations import Nation, read_nations
from osvl_plugins.corpus.page import Fact, Page
from osvl_plugins.corpus.world import Name, SourcePicture, World
from osvl_plugins.errors import CorpusError

SOURCE = "world-countries"
FLAG_WIDTH = 512
FLAG_LICENCE = "ODbL-1.0"


def add_countries(folder: Path, world: World) -> None:
    """Add every country, capital, currency, language, region and continent of an unpacked world-countries package.

    Raises ``CorpusError`` when the package is not readable or resvg-py is not installed.
    """
    nations = read_nations(folder)
    names = {nation.code: world.claim(nation.name, "country", nation.code) for nation in nations}
    linked = claim_linked(nations, names, world)
    by_code = {nation.code: nation for nation in nations}
    for nation in nations:
        flag_file = folder / "package" / "data" / f"{nation.code.lower()}.svg"
        flags = [_flag(flag_file, nation)] if flag_file.is_file() else []
        facts = tuple(_facts(nation, by_code, names, linked))
        name = names[nation.code]
        lead = _lead(nation)
        body = "\n\n".join(filter(None, [_details(nation), _neighbourhood(nation, names)]))
        page = Page(name.id, name.title, "country", lead, facts, body, nation.aliases, source=SOURCE)
        world.add(page, *flags)
    add_linked(nations, names, linked, world, SOURCE)


def rasterise(svg: Path, width: int) -> Image.Image:
    """An SVG file as an RGB image of that width in pixels, on white.

    Raises ``CorpusError`` when resvg-py is not installed or the file does not render.
    """
    try:
        import resvg_py
    except ImportError as error:
        raise CorpusError("flags need resvg-py; run: pip install resvg-py") from error
    try:
        png = resvg_py.svg_to_bytes(svg_path=str(svg), width=width, background="#ffffff", skip_system_fonts=True)
        return Image.open(io.BytesIO(bytes(png))).convert("RGB")
    except (ValueError, OSError) as error:
        raise CorpusError(f"{svg.name} does not render: {error}") from error


def _flag(svg: Path, nation: Nation) -> SourcePicture:
    return SourcePicture(rasterise(svg, FLAG_WIDTH), f"Flag of {nation.name}", FLAG_LICENCE, flat=True)


def _facts(nation: Nation, by_code: dict[str, Nation], names: dict[str, Name], linked: Linked) -> Iterable[Fact]:
    if len(nation.capitals) == 1:
        yield linked.capitals[nation.code].fact("capital")
    if len(nation.currencies) == 1:
        yield linked.currencies[nation.currencies[0].code].fact("currency")
    if len(nation.languages) == 1:
        yield linked.languages[nation.languages[0]].fact("language")
    if nation.subregion:
        yield linked.regions[nation.subregion].fact("region")
    yield linked.continents[nation.continent].fact("continent")
    neighbours = [by_code[code] for code in nation.borders if by_code[code].area_km2 is not None]
    if len(nation.borders) == 1:
        yield names[nation.borders[0]].fact("only neighbour")
    elif len(neighbours) == len(nation.borders) > 1:
        by_area = sorted(neighbours, key=lambda other: other.area_km2 or 0.0)
        yield names[by_area[-1].code].fact("largest neighbour")
        yield names[by_area[0].code].fact("smallest neighbour")
    yield Fact("number of neighbours", str(len(nation.borders)))
    if nation.area_km2 is not None:
        yield Fact("area", square_km(nation.area_km2))
    if nation.demonym:
        yield Fact("demonym", nation.demonym)
    if nation.top_level_domain:
        yield Fact("top-level domain", nation.top_level_domain)
    if nation.calling_code:
        yield Fact("calling code", nation.calling_code)
    yield Fact("country code", nation.code)


def _lead(nation: Nation) -> str:
    official = f", officially {nation.official}," if nation.official != nation.name else ""
    status = "a country" if nation.independent else "a country or territory"
    return f"{nation.name}{official} is {status} in {region_phrase(nation.subregion or nation.continent)}."


def _details(nation: Nation) -> str:
    sentences = []
    if len(nation.capitals) == 1:
        sentences.append(f"Its capital is {nation.capitals[0]}.")
    elif nation.capitals:
        sentences.append(f"Its capitals are {listing(nation.capitals)}.")
    if nation.currencies:
        sentences.append(f"People pay with the {listing(currency.name for currency in nation.currencies)}.")
    if nation.languages:
        sentences.append(f"Official languages: {listing(nation.languages)}.")
    if nation.area_km2 is not None:
        sentences.append(f"It covers {square_km(nation.area_km2)}.")
    return " ".join(sentences)


def _neighbourhood(nation: Nation, names: dict[str, Name]) -> str:
    sentences = ["It is landlocked."] if nation.landlocked else []
    if nation.borders:
        sentences.append(f"{nation.name} borders {listing(sorted(names[code].plain for code in nation.borders))}.")
    else:
        sentences.append(f"{nation.name} has no land border.")
    return " ".join(sentences)


def listing(items: Iterable[str]) -> str:
    """``a, b and c``."""
    words = list(items)
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
