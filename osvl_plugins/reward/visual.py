"""r_visual: whether operations on pictures led to evidence. A method of this package, not of arXiv 2605.05185.

The paper scores textual queries only. Here an operation is a ``crop``, ``sharpen``, ``super_resolution``,
``perspective_correct`` or ``layout_parsing`` that did not fail. A search uses an operation when

- it looks up the picture that the operation made (``image_search``), or
- it is the first search after it, no other operation came in between, and its query has a word that stood neither in
  the question nor in an earlier observation (``text_search``, ``web_search``); if the operation is
  ``layout_parsing``, the word must be one that was read there.

A search that shows a page of the evidence which no earlier observation showed gives credit to the operation that it
uses and to those by which that one's picture was made; of several in a row with the same tool only to the last. Then

    r_visual = operations with credit / operations

lies in [0, 1]. An operation whose output leads nowhere lowers it, as does each repetition. It is not defined without
evidence or without an operation: whoever needs none loses nothing. It rests on what was recorded alone, and cannot
tell whether the page would have been found without the operation.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence, Set
from itertools import groupby
from typing import NamedTuple

from osvl_plugins.trajectory import Observation, ToolCall, Trajectory

OPERATIONS = frozenset({"crop", "sharpen", "super_resolution", "perspective_correct", "layout_parsing"})
SEARCHES = frozenset({"image_search", "text_search", "web_search"})

_NAME = re.compile(r"img_?0*([1-9]\d{0,5})", re.IGNORECASE)
# Scripts without spaces between words count by pairs of characters.
_UNSPACED = r"\u3040-\u30ff\u3400-\u9fff"
_RUN = re.compile(rf"[{_UNSPACED}]{{2,}}|[^\W_{_UNSPACED}]{{2,}}")
_IS_UNSPACED = re.compile(rf"[{_UNSPACED}]")


class _Step(NamedTuple):
    """A turn that called a tool; ``done``: the call did not fail."""

    call: ToolCall
    observation: Observation

    @property
    def done(self) -> bool:
        return self.observation.error is None


def visual_score(trajectory: Trajectory, evidence: Sequence[str], question: str) -> float | None:
    """Share of the operations on pictures that have credit, of a fatal trajectory those before its fatal step.

    ``evidence``: ids of the pages that the answer rests on. None without evidence or without an operation.
    """
    operations = sum(step.done and step.call.name in OPERATIONS for step in _steps(trajectory).values())
    if not operations or not evidence:
        return None
    return len(credited_operations(trajectory, evidence, question)) / operations


def credited_operations(trajectory: Trajectory, evidence: Sequence[str], question: str) -> frozenset[int]:
    """Indices of the turns whose operation has credit."""
    sources = {image.id: image.source for image in trajectory.images}
    return frozenset(_credited(_steps(trajectory), sources, frozenset(evidence), _words(question)))


def _steps(trajectory: Trajectory) -> dict[int, _Step]:
    turns = enumerate(trajectory.turns[: trajectory.fatal_step])
    return {place: _Step(turn.call, turn.observation) for place, turn in turns if turn.call and turn.observation}


def _credited(
    steps: Mapping[int, _Step], sources: Mapping[str, str | None], evidence: Set[str], known: Set[str]
) -> Iterator[int]:
    made_by: dict[str, int] = {}
    seen: set[str] = set()
    waiting: list[int] = []  # operations that no search has followed yet
    for place, (call, observation) in steps.items():
        if steps[place].done and call.name in OPERATIONS:
            made_by |= dict.fromkeys(observation.image_ids, place)
            waiting.append(place)
            continue
        if steps[place].done and call.name in SEARCHES:
            if evidence & set(observation.pages) - seen:
                used = list(_used(call, steps, waiting, known, made_by, sources))
                for _, row in groupby(used, key=lambda operation: steps[operation].call.name):
                    yield next(row)
            known = frozenset(known).union(*(_words(steps[operation].observation.text) for operation in waiting))
            waiting = []
        seen.update(observation.pages)
        known = known | _words(observation.text)


def _used(
    search: ToolCall,
    steps: Mapping[int, _Step],
    waiting: Sequence[int],
    known: Set[str],
    made_by: Mapping[str, int],
    sources: Mapping[str, str | None],
) -> Iterator[int]:
    """The operations that ``search`` used, from the last to the first."""
    if search.name == "image_search":
        picture = _picture(search.arguments.get("url"))
    elif waiting and _tells(search, steps[waiting[-1]], known):
        yield waiting[-1]
        call = steps[waiting[-1]].call
        picture = _picture(call.arguments.get("image", call.arguments.get("file_path")))
    else:
        return
    for _ in sources:  # a picture has no more ancestors than there are pictures
        if picture is None:
            return
        if picture in made_by:
            yield made_by[picture]
        picture = sources.get(picture)


def _tells(search: ToolCall, operation: _Step, known: Set[str]) -> bool:
    """Whether the query says what ``operation`` showed."""
    new = _words(str(search.arguments.get("q"))) - known
    return bool(new & _words(operation.observation.text) if operation.call.name == "layout_parsing" else new)


def _picture(name: object) -> str | None:
    match = _NAME.fullmatch(str(name).strip())
    return f"img_{match[1]}" if match else None


def _words(text: str) -> frozenset[str]:
    plain = "".join(char for char in unicodedata.normalize("NFKD", text) if not unicodedata.combining(char))
    words: set[str] = set()
    for run in _RUN.findall(plain.casefold()):
        words.update([run[at : at + 2] for at in range(len(run) - 1)] if _IS_UNSPACED.match(run) else [run])
    return frozenset(words)
