"""The pages that countries link to: capitals, currencies, languages, regions, continents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from osvl_plugins.corpus.nations import Currency, Nation
from osvl_plugins.corpus.page import Fact, Page
from osvl_plugins.corpus.world import Name, World

WITH_ARTICLE = {"Caribbean", "Americas", "Antarctic"}


@dataclass(frozen=True)
class Linked:
    """Names of the linked pages: capitals by country code, currencies by their code, the others by name."""

    capitals: dict[str, Name]
    currencies: dict[str, Name]
    languages: dict[str, Name]
    regions: dict[str, Name]
    continents: dict[str, Name]


def claim_linked(nations: Sequence[Nation], names: dict[str, Name], world: World) -> Linked:
    """Reserve a title for everything that the nations, whose own ``names`` are claimed, link to."""
    continents = {key: world.claim(key, "continent") for key in sorted({nation.continent for nation in nations})}
    subregions = sorted({nation.subregion for nation in nations if nation.subregion})
    # A nation's code tells apart two capitals of one name.
    ordered = sorted(nations, key=lambda nation: (not nation.independent, nation.name))
    return Linked(
        capitals={
            nation.code: world.claim(nation.capitals[0], "city", f"city in {names[nation.code].plain}")
            for nation in ordered
            if nation.capitals
        },
        currencies={code: world.claim(_currency_name(code, nations), "currency", code) for code in _codes(nations)},
        languages={
            language: world.claim(_language_title(language), "language")._replace(plain=_plain_language(language))
            for language in sorted({language for nation in nations for language in nation.languages})
        },
        regions={key: world.claim(key, "region") for key in subregions},
        continents=continents,
    )


def add_linked(nations: Sequence[Nation], names: dict[str, Name], linked: Linked, world: World, source: str) -> None:
    """Add the pages of all names of ``linked``."""
    for nation in nations:
        if nation.code in linked.capitals:
            world.add(_capital(nation, names[nation.code], linked, source))
    for code, name in linked.currencies.items():
        users = [nation for nation in nations if code in {currency.code for currency in nation.currencies}]
        world.add(_currency(code, name, users, names, linked, source))
    for language, name in linked.languages.items():
        speakers = [nation for nation in nations if language in nation.languages]
        world.add(_language(name, language, speakers, names, source))
    for region, name in linked.regions.items():
        members = [nation for nation in nations if nation.subregion == region]
        continents = {nation.continent for nation in members}
        above = [linked.continents[next(iter(continents))].fact("continent")] if len(continents) == 1 else []
        world.add(_region(name, "region", members, above, names, source))
    for continent, name in linked.continents.items():
        members = [nation for nation in nations if nation.continent == continent]
        regions = len({nation.subregion for nation in members if nation.subregion})
        inside = [Fact("number of regions", str(regions))] if regions else []
        world.add(_region(name, "continent", members, inside, names, source))


def region_phrase(name: str) -> str:
    """A region's name as it stands in a sentence: ``the Caribbean``, ``South America``."""
    return f"the {name}" if name in WITH_ARTICLE else name


def square_km(area: float) -> str:
    """``1,964,375 km²``."""
    return f"{area:,.0f} km²" if area >= 10 else f"{area:g} km²"


def _capital(nation: Nation, country: Name, linked: Linked, source: str) -> Page:
    name = linked.capitals[nation.code]
    sole = len(nation.capitals) == 1
    facts = [country.fact("country")]
    if nation.subregion:
        facts.append(linked.regions[nation.subregion].fact("region"))
    facts.append(linked.continents[nation.continent].fact("continent"))
    where = region_phrase(nation.subregion or nation.continent)
    lead = f"{name.plain} is {'the' if sole else 'a'} capital of {country.plain}, in {where}."
    body = f"{name.plain} is the seat of government of {country.plain}." if sole else ""
    if nation.currencies:
        body = f"{body} The city lies in a country that uses the {nation.currencies[0].name}.".strip()
    return Page(name.id, name.title, "city", lead, tuple(facts), body, source=source)


def _currency(
    code: str, name: Name, users: Sequence[Nation], names: dict[str, Name], linked: Linked, source: str
) -> Page:
    entries = [currency for nation in users for currency in nation.currencies if currency.code == code]
    facts = _extremes(users, names, ("largest user", "smallest user"), "only user")
    facts.append(Fact("number of users", str(len(users))))
    facts.append(Fact("code", code))
    symbol = Counter(entry.symbol for entry in entries).most_common(1)[0][0]
    if symbol:
        facts.append(Fact("symbol", symbol))
    places = ", ".join(names[nation.code].plain for nation in users)
    lead = f"The {name.plain} ({code}) is a currency used in {places}."
    aliases = dict.fromkeys([code, *(entry.name for entry in entries)])
    others = tuple(alias for alias in aliases if alias != name.title)
    body = f"Amounts in {name.plain} are written with the symbol {symbol}." if symbol else ""
    return Page(name.id, name.title, "currency", lead, tuple(facts), body, others, source=source)


def _language(name: Name, language: str, speakers: Sequence[Nation], names: dict[str, Name], source: str) -> Page:
    facts = _countries(speakers, names)
    facts.append(Fact("number of countries", str(len(speakers))))
    places = ", ".join(names[nation.code].plain for nation in speakers)
    lead = f"{name.plain} is an official language of {places}."
    aliases = tuple(dict.fromkeys(alias for alias in (language, name.plain) if alias != name.title))
    body = f"The {name.title} has official status in {len(speakers)} countries and territories."
    return Page(name.id, name.title, "language", lead, tuple(facts), body, aliases, source=source)


def _region(
    name: Name, kind: str, members: Sequence[Nation], extra: Iterable[Fact], names: dict[str, Name], source: str
) -> Page:
    facts = [*_countries(members, names), *extra]
    facts.append(Fact("number of countries and territories", str(len(members))))
    places = ", ".join(names[nation.code].plain for nation in members)
    subject = region_phrase(name.plain)
    lead = f"{subject[0].upper()}{subject[1:]} is a {kind} of {len(members)} countries and territories."
    return Page(name.id, name.title, kind, lead, tuple(facts), f"It is made up of {places}.", source=source)


def _extremes(nations: Sequence[Nation], names: dict[str, Name], both: tuple[str, str], sole: str) -> list[Fact]:
    if len(nations) == 1:
        return [names[nations[0].code].fact(sole)]
    if any(nation.area_km2 is None for nation in nations):
        return []
    by_area = sorted(nations, key=lambda nation: nation.area_km2 or 0.0)
    ends = {both[0]: by_area[-1], both[1]: by_area[0]} if len(by_area) > 1 else {}
    return [names[nation.code].fact(relation) for relation, nation in ends.items()]


def _countries(nations: Sequence[Nation], names: dict[str, Name]) -> list[Fact]:
    # Territories do not answer what the largest country is.
    sovereign = [nation for nation in nations if nation.independent]
    sole = "only country" if len(nations) == 1 else "only sovereign country"
    return _extremes(sovereign, names, ("largest country", "smallest country"), sole)


def _codes(nations: Iterable[Nation]) -> list[str]:
    return sorted({currency.code for nation in nations for currency in nation.currencies})


def _currency_name(code: str, nations: Iterable[Nation]) -> str:
    # Some entries say "krone" where others say "Danish krone": the longest is the full one.
    entries: list[Currency] = [
        currency for nation in nations for currency in nation.currencies if currency.code == code
    ]
    name = max((entry.name for entry in entries), key=lambda name: (len(name), name))
    return name[0].upper() + name[1:]


def _plain_language(language: str) -> str:
    return language.split(" (")[0]


def _language_title(language: str) -> str:
    plain = _plain_language(language)
    return plain if plain.lower().endswith("language") else f"{plain} language"
