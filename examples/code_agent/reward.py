"""The reward, as verl's ``custom_reward_function``: 1 for the right number, a part of it if only a call printed it."""

from __future__ import annotations

import re
from typing import Any

PARTIAL = 0.2
"""Of a trajectory in which a call printed the right number, though no answer gives it."""

_OBSERVATION = re.compile(r"<tool_response>\n(.*?)\n</tool_response>", re.DOTALL)
_ANSWER = re.compile(r"Answer: (-?\d+)")


def compute_score(
    data_source: str, solution_str: str, ground_truth: str, extra_info: dict[str, Any] | None = None, **unused: Any
) -> dict[str, float]:
    """The score of a whole response, with observations in it, and its two parts ``exact`` and ``found`` (0 or 1)."""
    # What a program printed is no answer: only what follows the last observation can be.
    spoken = solution_str.rpartition("</tool_response>")[2].rstrip()
    answer = _ANSWER.fullmatch(spoken.rpartition("\n")[2].strip())
    exact = float(answer is not None and int(answer[1]) == int(ground_truth))
    printed = (text.split() for text in _OBSERVATION.findall(solution_str))
    found = float(any(words[-1:] == [ground_truth] for words in printed))
    return {"score": max(exact, PARTIAL * found), "exact": exact, "found": found}
