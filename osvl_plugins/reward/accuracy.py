"""r_acc: is the answer right? Rules only: equality after normalisation, against the answer and its aliases."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

MAX_ANSWER_CHARS = 2000
"""A longer answer is wrong: it hides the answer among others."""

_BOXED = re.compile(r"\\?boxed\s*\{([^{}]*)\}")
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_NOT_WORD = re.compile(r"[^\w]+")
_GROUPED = re.compile(r"(?<=\d)[,\u00a0\u202f](?=\d{3}\b)")


def normalise(text: str) -> str:
    """``text`` without case, accents, articles, punctuation and digit grouping."""
    # Before the decomposition, which turns the spaces that group digits into plain ones.
    decomposed = unicodedata.normalize("NFKD", _GROUPED.sub("", text))
    plain = "".join(char for char in decomposed if not unicodedata.combining(char)).casefold()
    return " ".join(_ARTICLES.sub(" ", _NOT_WORD.sub(" ", plain)).split())


def final_answer(text: str) -> str:
    r"""What an answer says: the content of its last ``\boxed{…}``, or all of it."""
    boxed = _BOXED.findall(text)
    return str(boxed[-1] if boxed else text).strip()


def accuracy_score(answer: str | None, accepted: Sequence[str]) -> float:
    """1.0 if ``answer`` is one of ``accepted`` after normalisation, else 0.0. No answer is wrong.

    Raises ``ValueError`` when nothing is accepted: a question without an answer cannot be scored.
    """
    gold = {normalise(text) for text in accepted} - {""}
    if not gold:
        raise ValueError("there is no accepted answer to compare with")
    if answer is None or len(answer) > MAX_ANSWER_CHARS:
        return 0.0
    return float(normalise(final_answer(answer)) in gold)
