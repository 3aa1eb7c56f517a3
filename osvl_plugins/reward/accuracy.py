"""r_acc by rules alone."""

from __future__ import annotations

from collections.abc import Sequence

from osvl_plugins.reward.answer import MAX_ANSWER_CHARS, final_answer
from osvl_plugins.reward.rules import Rules
from osvl_plugins.reward.rules.text import normalise

__all__ = ["MAX_ANSWER_CHARS", "accuracy_score", "final_answer", "normalise"]

_RULES = Rules()


def accuracy_score(answer: str | None, accepted: Sequence[str], question: str = "") -> float:
    """1.0 if the rules find ``answer`` right, else 0.0: wrong, or beyond what they can tell. No answer is wrong.

    Without the ``question`` units that only it names, options and sentences that repeat it are not understood. Raises
    ``ValueError`` when nothing is accepted: a question without an answer cannot be scored.
    """
    return float(_RULES.compare(question, accepted, answer or "").right is True)
