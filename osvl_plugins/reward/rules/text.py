"""Text as the rules compare it: normalised, in tokens, and how much two texts share."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

from osvl_plugins.reward.answer import visible

_GROUPED = re.compile(r"(?<=\d)[,'’\u00a0\u2009\u202f](?=\d{3}(?!\d))")
_SUPERSCRIPT = re.compile(r"[⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_SUPERSCRIPTS = str.maketrans("⁺⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "+-0123456789")
_VULGAR = re.compile(r"[¼-¾⅐-⅞↉]")
_DASHES = re.compile(r"[‐‑‒–—―−﹣]")
_APOSTROPHE = re.compile(r"(?<=\w)['’ʼ‘](?=[^\W\d_])")

_SIGNS = "<>=±×÷¬√∞∫∑∏∂∅∆∇∈∉∪∩⊂⊃∝∼≃≅≈≠≡≤≥⊕⊗⊥∥∀∃→←↔⇒⇔♯♭♂♀♠♥♦♣✖✗✘❌🚫"
_OTHER = re.compile(rf"[^\w\s.:/^+#%°$¢£¤¥€₩₹₽฿{_SIGNS}-]|_")
"""Not words, and not what changes the meaning of one: "<15" is not 15, and "❌ Oslo" is not Oslo."""
_JOINT = re.compile(r"(?<!\d)[.:/]|[.:/](?!\d)")
_POWER = re.compile(r"(?<!\w)\^|\^(?!-?\d)")
_MINUS = re.compile(r"-(?!\d)(?!(?<=\w-)(?:\s|$))|(?<=[^\s^])-(?=\d)")
_PLUS = re.compile(r"(?<![\w+])\++")
_SHARP = re.compile(r"(?<![^\W\d_])#")
_ARTICLE = re.compile(r"\b(?:an|the)(?: |$)")
_A = re.compile(r"(?:^A|(?<![\w.'-])a)\s+(?=\w)")
_LETTERS = re.compile(r"(?<![\w.])[^\W\d_](?:\.[^\W\d_])+(?:\.|(?!\w))")

_POINT = re.compile("[\u0591-\u05c7\u064b-\u0652]")
_CJK = "\u2e80-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
_TOKEN = re.compile(rf"[{_CJK}]|[^\s{_CJK}]+")
_CJK_GAP = re.compile(rf"(?<=[{_CJK}]) | (?=[{_CJK}])")
_CODE_GAP = re.compile(r"(?<=[^\W\d_]) (?=\d)|(?<=\d) (?=[^\W\d_])")
_HAN = re.compile(rf"[{_CJK}]")

_QUOTES = " \t\"'“”‘’«»"
_SPELLINGS = {"grey": "gray", "st": "saint", "mt": "mount", "centre": "center", "theatre": "theater"}
_SPELLING_ENDS = (("isation", "ization"), ("our", "or"))


def plain(text: str) -> str:
    """``text`` on one line with one kind of dash, space and exponent, as the readers of numbers and dates take it.

    Case, accents and punctuation stay. Ten squared becomes 10^2 and ½ becomes 1/2: NFKC would make them 102 and 11⁄2.
    """
    text = _GROUPED.sub("", visible(text))
    text = _SUPERSCRIPT.sub(lambda power: "^" + power[0].translate(_SUPERSCRIPTS).lstrip("+"), text)
    text = _VULGAR.sub(lambda part: f" {unicodedata.normalize('NFKC', part[0]).replace('⁄', '/')} ", text)
    text = unicodedata.normalize("NFKC", text)
    return " ".join(_DASHES.sub("-", _GROUPED.sub("", text)).split())


def normalise(text: str) -> str:
    """``text`` without case, accents, the articles "an" and "the", punctuation and digit grouping.

    What carries meaning stays: decimal points, colons and slashes between digits, a minus, %, °, currency signs,
    exponents, mathematical signs, the ends of C++, C# and A-. So does "a", which without its full stop the initial of
    "A. Milne" would look like; ``key`` tells them apart. Normalising twice changes nothing.
    """
    folded = unicodedata.normalize("NFKD", _without_accents(plain(text).casefold()))
    folded = _APOSTROPHE.sub("", _without_accents(folded)).replace("&", " and ")
    folded = _DASHES.sub("-", folded).replace("⁄", "/")
    for pattern in (_OTHER, _JOINT, _POWER, _MINUS, _PLUS, _SHARP):
        folded = pattern.sub(" ", folded)
    folded = " ".join(unicodedata.normalize("NFC", folded).split())
    return _ARTICLE.sub("", folded).strip()


def _without_accents(text: str) -> str:
    """``text`` without the accents of Latin and Greek, ё as е, and without the vowel points of Arabic and Hebrew.

    Marks that make another letter stay: й, the voiced kana, the signs of Indic scripts.
    """
    kept: list[str] = []
    base = ""
    for char in unicodedata.normalize("NFD", text):
        if not unicodedata.combining(char):
            base = char
        elif ("\u0300" <= char <= "\u036f" and (base, char) != ("и", "\u0306")) or _POINT.match(char):
            continue
        kept.append(char)
    return unicodedata.normalize("NFC", "".join(kept))


def key(text: str) -> str:
    """What equal answers share: ``normalise`` in one spelling, without "a" and what parts "BA 117" and "U.S."."""
    text = _A.sub("", plain(text).strip(_QUOTES))
    text = _LETTERS.sub(lambda letters: letters[0].replace(".", ""), text)
    spelled = " ".join(_spelling(word) for word in normalise(text).split())
    return _CODE_GAP.sub("", _CJK_GAP.sub("", spelled))


def _spelling(word: str) -> str:
    for british, american in _SPELLING_ENDS:
        if word.endswith(british) and len(word) > len(british) + 2:
            return word[: -len(british)] + american
    return _SPELLINGS.get(word, word)


def tokens(text: str) -> list[str]:
    """Words of ``text``, normalised; each Chinese, Japanese or Korean character is one."""
    return _TOKEN.findall(normalise(text))


def vocabulary(text: str) -> frozenset[str]:
    """The words of a list that is written as one line."""
    return frozenset(text.split())


def numbered(text: str, start: int = 1) -> dict[str, int]:
    """The words of a list that is written as one line, with their places counted from ``start``."""
    return {word: at for at, word in enumerate(text.split(), start)}


def stem(word: str) -> str:
    """``word`` without the endings of English plurals and past tenses."""
    for end in ("ies", "ing", "ed", "es", "s", "d", "e"):
        if word.endswith(end) and len(word) - len(end) >= 3:
            return word[: -len(end)]
    return word


def is_han(text: str) -> bool:
    """Whether ``text`` holds Chinese, Japanese or Korean writing."""
    return _HAN.search(text) is not None


def token_f1(gold: str, answer: str) -> float:
    """Harmonic mean of precision and recall of the answer's words, in [0, 1] (arXiv 1606.05250, section 6.1)."""
    expected, said = Counter(tokens(gold)), Counter(tokens(answer))
    shared = (expected & said).total()
    return 2 * shared / (expected.total() + said.total()) if shared else 0.0
