"""What a judge is shown of a question and a trajectory: bounded, and unable to leave the tags that it stands in."""

from __future__ import annotations

import json
from collections.abc import Sequence

from osvl_plugins.reward.answer import for_judge
from osvl_plugins.trajectory import Trajectory, Turn

QUESTION_CHARS = 8000
ACCEPTED = 50
"""Most accepted answers that are shown, from the first."""
ACCEPTED_CHARS = 500
CALLS = 20
"""Most calls that are shown, from the first (arXiv 2605.05185: up to 20 calls, 200 and 400 characters)."""
ARGUMENTS_CHARS = 200
RESULT_CHARS = 400
SEARCHES = frozenset(("text_search", "web_search", "image_search"))
"""Tools whose calls are searches; the others work on what is there."""
NAME_CHARS = 60


def quoted(tag: str, text: str, most: int) -> str:
    """``text`` as one line of at most ``most`` characters, between tags that it can neither close nor open."""
    # Cut before it is made harmless, which takes its time; one more, so that the cut is marked.
    return f"<{tag}>{for_judge(text[: most + 1], most)}</{tag}>"


def some_accepted(accepted: Sequence[str]) -> list[str]:
    """Those of ``accepted`` that say something. Raises ``ValueError`` when none does."""
    known = [text for text in accepted if text.strip()]
    if not known:
        raise ValueError("there is no accepted answer to compare with")
    return known


def question_material(question: str, accepted: Sequence[str], answer: str, answer_chars: int) -> str:
    """The question, the ``accepted`` answers and the ``answer``, of which ``answer_chars`` characters are shown."""
    return "\n\n".join(
        (
            quoted("question", question, QUESTION_CHARS),
            "\n".join(quoted("accepted", text, ACCEPTED_CHARS) for text in accepted[:ACCEPTED]),
            quoted("answer", answer, answer_chars),
        )
    )


def living(trajectory: Trajectory) -> list[Turn]:
    """The turns before the fatal step, all of them where there is none."""
    return trajectory.turns[: trajectory.fatal_step]


def searched(turns: Sequence[Turn]) -> bool:
    """Whether any of ``turns`` called a search tool."""
    return any(turn.call is not None and turn.call.name in SEARCHES for turn in turns)


def calls_material(turns: Sequence[Turn]) -> str:
    """The first ``CALLS`` calls of ``turns`` with the beginnings of their results."""
    calls = [turn for turn in turns if turn.call is not None]
    shown = [_call(number, turn) for number, turn in enumerate(calls[:CALLS], 1)]
    if len(calls) > CALLS:
        shown.append(f"({len(calls) - CALLS} more calls are not shown.)")
    return "\n\n".join(shown)


def _call(number: int, turn: Turn) -> str:
    assert turn.call is not None
    pairs = (f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in turn.call.arguments.items())
    lines = [
        f"Call {number}",
        quoted("tool", turn.call.name, NAME_CHARS),
        quoted("arguments", ", ".join(pairs), ARGUMENTS_CHARS),
    ]
    seen = turn.observation
    if seen is not None and seen.error is not None:
        lines.append(quoted("failed", seen.error.message, RESULT_CHARS))
    elif seen is not None:
        lines.append(quoted("result", seen.text, RESULT_CHARS))
        lines += [f"Pictures in the result: {len(seen.image_ids)}"] if seen.image_ids else []
    return "\n".join(lines)
