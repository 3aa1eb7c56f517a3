"""Units of length, mass, area, volume, time, temperature, speed, shares and currencies, with their exact factors.

A currency is a dimension of its own: money is never converted.
"""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple


class Unit(NamedTuple):
    """``value`` of it is ``value · factor + offset`` of its dimension's base unit."""

    dimension: str
    factor: Fraction
    offset: Fraction = Fraction(0)


_LENGTH = {
    "mm millimetre millimeter 毫米": "0.001",
    "cm centimetre centimeter 厘米 公分": "0.01",
    "dm decimetre decimeter 分米": "0.1",
    "m metre meter 米 公尺": "1",
    "km kilometre kilometer kms 千米 公里": "1000",
    "nm nanometre nanometer 纳米": "0.000000001",
    "µm μm micrometre micrometer micron 微米": "0.000001",
    "in inch inches ″ \" '' 英寸": "0.0254",
    "ft foot feet ′ ' 英尺": "0.3048",
    "yd yard yds 码": "0.9144",
    "mi mile 英里": "1609.344",
    "nmi nautical_mile 海里": "1852",
    "里 市里": "500",
    "ly light_year lightyear light-year 光年": "9460730472580800",
    "au astronomical_unit 天文单位": "149597870700",
}
_MASS = {
    "mg milligram milligramme 毫克": "0.000001",
    "g gram gramme gr 克": "0.001",
    "kg kilogram kilogramme kilo kgs 千克 公斤": "1",
    "t tonne metric_ton metric_tonne 吨": "1000",
    "lb lbs pound 磅": "0.45359237",
    "oz ounce 盎司": "0.028349523125",
    "st stone": "6.35029318",
    "斤 市斤": "0.5",
}
_AREA = {
    "m^2 m2 sqm sq_m square_metre square_meter 平方米 平米": "1",
    "cm^2 cm2 sq_cm square_centimetre square_centimeter 平方厘米": "0.0001",
    "km^2 km2 sq_km square_kilometre square_kilometer 平方公里 平方千米": "1000000",
    "ha hectare 公顷": "10000",
    "acre ac 英亩": "4046.8564224",
    "ft^2 ft2 sq_ft square_foot square_feet 平方英尺": "0.09290304",
    "mi^2 mi2 sq_mi square_mile 平方英里": "2589988.110336",
}
_VOLUME = {
    "ml mL millilitre milliliter 毫升": "0.001",
    "cl cL centilitre centiliter": "0.01",
    "l L litre liter 升 公升": "1",
    "m^3 m3 cubic_metre cubic_meter 立方米": "1000",
    "cm^3 cm3 cc cubic_centimetre cubic_centimeter 立方厘米": "0.001",
    "km^3 km3 cubic_kilometre cubic_kilometer 立方千米 立方公里": "1000000000000",
    "gal gallon US_gallon 加仑": "3.785411784",
}
_TIME = {
    "ms millisecond 毫秒": "0.001",
    "s sec second secs 秒 秒钟": "1",
    "min minute mins 分钟": "60",
    "h hr hour hrs 小时 个小时": "3600",
    "day d 天": "86400",
    "week wk 周 星期 个星期": "604800",
}
_SPAN = {"month 个月": "1", "year yr yrs 年": "12", "decade": "120", "century centuries": "1200"}
"""Calendar time: months and years have no fixed number of days."""
_SPEED = {
    "m/s mps metres_per_second meters_per_second metre_per_second meter_per_second 米/秒 米每秒": "1",
    "km/h kph kmh km/hr kilometres_per_hour kilometers_per_hour kilometre_per_hour": "5/18",
    "公里/小时 千米每小时 公里每小时 千米/小时": "5/18",
    "km/s kilometres_per_second kilometers_per_second 千米每秒 公里每秒": "1000",
    "mph mi/h miles_per_hour mile_per_hour 英里每小时": "0.44704",
    "kn kt knot 节": "463/900",
    "ft/s feet_per_second": "0.3048",
}
_SHARE = {"% percent per_cent pct percentage": "0.01", "‰ permille per_mille": "0.001"}
_CURRENCIES = {
    "usd": "$ us$ USD dollar US_dollar 美元",
    "eur": "€ EUR euro 欧元",
    "gbp": "£ GBP pound pound_sterling 英镑",
    "jpy": "JPY yen 日元",
    "cny": "CNY RMB yuan renminbi 元 人民币 块",
    "inr": "₹ INR rupee 卢比",
    "yen_or_yuan": "¥",
    "aud": "A$ AUD Australian_dollar 澳元",
    "cad": "C$ CAD Canadian_dollar 加元",
    "chf": "CHF Swiss_franc 瑞士法郎",
    "rub": "₽ RUB rouble ruble 卢布",
    "krw": "₩ KRW won 韩元",
}


def _table() -> dict[str, tuple[Unit, ...]]:
    units: dict[str, tuple[Unit, ...]] = {}

    def add(names: str, unit: Unit) -> None:
        for name in names.split():
            name = name.replace("_", " ")
            spelled = {name, f"{name}s"} if len(name) > 2 and name.isascii() and name[-1].isalpha() else {name}
            for each in spelled:
                units[each] = (*units.get(each, ()), unit)

    dimensions = {
        "length": _LENGTH, "mass": _MASS, "area": _AREA, "volume": _VOLUME, "time": _TIME, "span": _SPAN,
        "speed": _SPEED, "share": _SHARE,
    }  # fmt: skip
    for dimension, table in dimensions.items():
        for names, factor in table.items():
            add(names, Unit(dimension, Fraction(factor)))
    for currency, names in _CURRENCIES.items():
        add(names, Unit(currency, Fraction(1)))
    add("°C ℃ C celsius degrees_celsius degree_celsius centigrade degrees_centigrade degrees_C deg_C 摄氏度 度",
        Unit("temperature", Fraction(1), Fraction("273.15")))  # fmt: skip
    add("°F ℉ F fahrenheit degrees_fahrenheit degree_fahrenheit degrees_F 华氏度",
        Unit("temperature", Fraction(5, 9), Fraction("459.67") * Fraction(5, 9)))  # fmt: skip
    add("K kelvin degrees_kelvin 开尔文", Unit("temperature", Fraction(1)))
    return units


UNITS = _table()
"""Every spelling, with one unit or, as of "pounds", several."""
LONGEST_UNIT = max(map(len, UNITS))


def units_named(name: str) -> tuple[Unit, ...]:
    """The units that ``name`` may mean; case matters only where it must (m, K, C)."""
    return UNITS.get(name) or (UNITS.get(name.lower(), ()) if len(name) > 1 else ())
