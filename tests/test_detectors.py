"""Where trajectories die: by hand, as whole episodes in both profiles, and against slow implementations."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from osvl_plugins.detectors import ConsecutiveErrors, FatalDetector, Repetition, no_answer, overlong, void_turn
from osvl_plugins.episode import EpisodeSettings, Task, run_episode
from osvl_plugins.errors import ERROR_KINDS, ErrorKind, PolicyError, ToolError
from osvl_plugins.fatal import MODES, FatalSettings, RepetitionSettings, token_mask
from osvl_plugins.reward.composite import Sample, Scorer
from osvl_plugins.reward.judges.rules import RuleJudge
from osvl_plugins.reward.settings import RewardSettings
from osvl_plugins.tools.base import Arguments, ToolContext, ToolResult
from osvl_plugins.tools.toolset import CallSettings, ToolSet
from osvl_plugins.trajectory import Trajectory, Turn
from tests.agents import Scripted, answer, call
from tests.steps import ANSWERS, KINDS, trained, trajectory, turn

OUTAGE: tuple[ErrorKind, ...] = ("timeout", "unavailable", "rate_limited")


@pytest.mark.parametrize(
    ("script", "k", "first", "last"),
    [
        ("c e e e c A", 1, 1, 1),
        ("c e e e c A", 2, 1, 2),
        ("c e e e c A", 3, 1, 3),
        ("c e e e c A", 5, None, None),
        ("e c e e c e e e A", 1, 0, 0),
        ("e c e e c e e e A", 2, 2, 3),
        ("e c e e c e e e A", 3, 5, 7),
        ("c e e e e e A", 5, 1, 5),
        ("e e e e e", 5, 0, 4),
        ("e e e e", 5, None, None),
        ("n b k p", 3, 0, 2),
        ("e e c e e A", 3, None, None),
    ],
)
def test_a_run_of_errors_is_fatal_at_its_first_or_its_kth(
    script: str, k: int, first: int | None, last: int | None
) -> None:
    died = trajectory(script)
    assert ConsecutiveErrors(k, "first")(died) == first
    assert ConsecutiveErrors(k, "last")(died) == last


@pytest.mark.parametrize(
    ("script", "kinds", "step"),
    [
        ("c e u r A", OUTAGE, 1),
        ("e b e e A", OUTAGE, None),  # the bad arguments end the outage's run
        ("e n e e e A", OUTAGE, 2),
        ("b b b b A", OUTAGE, None),
        ("b e e e A", OUTAGE, 1),
        ("c p p p A", ("parse",), 1),
        ("p e p p A", ("parse",), None),
        ("b k p A", ("bad_arguments", "unknown_tool", "parse"), 0),
    ],
)
def test_an_error_of_another_kind_is_a_clean_step(script: str, kinds: tuple[ErrorKind, ...], step: int | None) -> None:
    assert ConsecutiveErrors(kinds=kinds)(trajectory(script)) == step


@pytest.mark.parametrize(
    ("script", "step"), [("c p c A", 1), ("p", 0), ("c e k b A", None), ("A", None), ("", None), ("c p p", 1)]
)
def test_a_turn_with_neither_call_nor_answer_is_void(script: str, step: int | None) -> None:
    assert void_turn(trajectory(script)) == step


@pytest.mark.parametrize(
    ("script", "end", "step"),
    [
        ("c c c", "turn_limit", 2),
        ("c c", "context_limit", 1),
        ("c c A", "answer", None),
        ("c e e e", "fatal", None),
        ("", "turn_limit", 0),
    ],
)
def test_an_episode_that_a_limit_ended_is_overlong_at_its_last_turn(script: str, end: Any, step: int | None) -> None:
    assert overlong(trajectory(script, end)) == step


@pytest.mark.parametrize(("script", "step"), [("c c", 2), ("", 0), ("c X", None), ("c p", 2)])
def test_an_episode_without_an_answer_dies_after_its_last_turn(script: str, step: int | None) -> None:
    assert no_answer(trajectory(script)) == step


LOOP = "again and again and " * 700
PROSE = " ".join(f"word{number}" for number in range(2501))


@pytest.mark.parametrize(
    ("texts", "step"),
    [
        ([PROSE, LOOP], 1),
        ([PROSE, PROSE], None),  # a turn is compared with itself alone
        (["again " * 2500, "again " * 2501], 1),
        ([PROSE + LOOP], None),  # half of its n-grams are different
        (["", "short " * 9], None),
    ],
)
def test_a_long_turn_that_says_the_same_over_and_over_is_repetition(texts: list[str], step: int | None) -> None:
    assert Repetition(RepetitionSettings())(Trajectory("?", [Turn(text) for text in texts])) == step


class Outcome(Arguments):
    kind: ErrorKind | None = Field(default=None, description="The error to raise.")


class Step:
    """A tool that fails as it is told."""

    name: ClassVar[str] = "step"
    description: ClassVar[str] = "Succeeds or fails."
    arguments: ClassVar[type[Arguments]] = Outcome
    backend = "none"

    async def run(self, arguments: Outcome, context: ToolContext) -> ToolResult:
        if arguments.kind is not None:
            raise ToolError(arguments.kind, "as told")
        return ToolResult("fine")


def spoken(letter: str) -> str | Exception:
    if letter == "!":
        return PolicyError("gone")
    if letter in ANSWERS:
        return answer(ANSWERS[letter])
    if letter == "p":
        return "I wonder."
    return call("step") if letter == "c" else call("step", kind=KINDS[letter])


async def played(script: str, settings: FatalSettings, max_turns: int = 50) -> Trajectory:
    policy = Scripted([spoken(letter) for letter in script.split()])
    tools = ToolSet([Step()], CallSettings())
    return await run_episode(Task([], []), policy, tools, EpisodeSettings(max_turns=max_turns), settings)


PAPER, REFERENCE = FatalSettings(profile="paper"), FatalSettings(profile="reference")

# script, limit of turns | for paper and for reference: turns that train under the fatal masks, fatal step, r_acc
BY_HAND: list[tuple[str, int, tuple[str, int | None, float], tuple[str, int | None, float]]] = [
    ("A", 9, ("1", None, 1), ("1", None, 1)),
    ("c X", 9, ("11", None, 0), ("11", None, 0)),
    ("c e e c A", 9, ("11111", None, 1), ("11111", None, 1)),
    ("e e c e e A", 9, ("111111", None, 1), ("111111", None, 1)),
    # a cascade, a recovery and an answer
    ("c e e e c A", 9, ("1000", 1, 0), ("100000", 1, 1)),
    ("c e e e c X", 9, ("1000", 1, 0), ("100000", 1, 0)),
    # at the start
    ("e e e c A", 9, ("000", 0, 0), ("00000", 0, 1)),
    ("p p p A", 9, ("000", 0, 0), ("0000", 0, 1)),
    # of mixed kinds, longer than K, and two of them
    ("c e p k A", 9, ("1000", 1, 0), ("10000", 1, 1)),
    ("c e e e e e A", 9, ("1000", 1, 0), ("1000000", 1, 1)),
    ("e e c c e e e c e e e A", 20, ("1111000", 4, 0), ("111100000000", 4, 1)),
    # at the very end
    ("c c e e e", 5, ("11000", 2, 0), ("11000", 2, 0)),
    # cut by the limit of turns: the reference still clamps it, for it has no answer
    ("c c c e e", 5, ("11111", None, 0), ("11111", 5, 0)),
    ("c c c", 3, ("111", None, 0), ("111", 3, 0)),
    # the rollout server fails: never fatal
    ("c c !", 9, ("11", None, 0), ("11", None, 0)),
    ("c e e !", 9, ("111", None, 0), ("111", None, 0)),
]


@pytest.mark.parametrize(("script", "limit", "paper", "reference"), BY_HAND)
async def test_episodes_worked_by_hand(
    script: str, limit: int, paper: tuple[str, int | None, float], reference: tuple[str, int | None, float]
) -> None:
    for settings, (mask, step, accuracy) in ((PAPER, paper), (REFERENCE, reference)):
        done = await played(script, settings, limit)
        assert (len(done.turns), done.fatal_step) == (len(mask), step)
        scorer = Scorer(RewardSettings(), RuleJudge(), score_fatal_answer=settings.score_answer)
        reward = await scorer.score(Sample(done, ["right"]))
        assert reward.accuracy == accuracy
        spans = [turn("c", 3 * number).span for number in range(len(mask))]
        every = "1" * len(mask)
        wanted = {"vanilla": every, "hard_mask": every if step is None else "0" * len(mask)}
        for mode in MODES:
            got = token_mask(3 * len(mask), [span for span in spans if span], step, mode)
            assert trained(got) == wanted.get(mode, mask)


async def test_the_last_of_the_run_keeps_the_errors_before_it() -> None:
    done = await played("c e e e c A", FatalSettings(profile="reference", at="last"))
    assert done.fatal_step == 3
    done = await played("c e e e c A", FatalSettings(at="last"))
    assert (done.fatal_step, done.end, len(done.turns)) == (3, "fatal", 4)


async def test_a_server_that_fails_after_a_cascade_leaves_nothing_fatal() -> None:
    done = await played("c e e e c !", REFERENCE)
    assert (done.end, done.fatal_step) == ("policy_error", None)


async def test_any_detector_that_can_tell_ends_the_episode() -> None:
    done = await played("c e p e A", FatalSettings(detectors=("errors", "void_turn")))
    assert (done.end, done.fatal_step, len(done.turns)) == ("fatal", 2, 3)


async def test_detectors_of_the_end_wait_for_it() -> None:
    settings = FatalSettings(detectors=("errors", "overlong", "no_answer"))
    done = await played("c c c A", settings)
    assert (done.end, done.fatal_step) == ("answer", None)
    done = await played("c c c c", settings, max_turns=4)
    assert (done.end, done.fatal_step) == ("turn_limit", 3)


async def test_an_outage_alone_is_fatal_where_only_its_kinds_count() -> None:
    settings = FatalSettings(kinds=OUTAGE)
    assert (await played("b b b e e A", settings)).fatal_step is None
    assert (await played("b b b e u r A", settings)).fatal_step == 3


scripts = st.lists(st.sampled_from("ceurnbkp"), max_size=25).map(" ".join)
some_kinds = st.lists(st.sampled_from(ERROR_KINDS), min_size=1, unique=True).map(tuple)


@given(scripts, st.integers(1, 5), st.sampled_from(["first", "last"]), some_kinds)
def test_errors_equal_a_search_over_all_windows(script: str, k: int, at: Any, kinds: Any) -> None:
    letters = script.split()
    counts = [letter in KINDS and KINDS[letter] in kinds for letter in letters]
    starts = [s for s in range(len(letters) - k + 1) if all(counts[s : s + k])]
    expected = None if not starts else starts[0] if at == "first" else starts[0] + k - 1
    assert ConsecutiveErrors(k, at, kinds)(trajectory(script)) == expected


def slow_repetition(texts: list[str], settings: RepetitionSettings) -> int | None:
    for index, text in enumerate(texts):
        grams = [text[s : s + settings.ngram] for s in range(len(text)) if s + settings.ngram <= len(text)]
        different: list[str] = []
        for gram in grams:
            if gram not in different:
                different.append(gram)
        if len(text.split()) > settings.min_words and grams and len(different) / len(grams) < settings.min_ratio:
            return index
    return None


texts = st.lists(st.text("ab ", max_size=12), max_size=6)
bounds = st.builds(
    RepetitionSettings,
    ngram=st.integers(1, 4),
    min_words=st.integers(0, 3),
    min_ratio=st.sampled_from([0.25, 0.5, 0.75, 1.0]),
)


@given(texts, texts, bounds)
def test_repetition_found_turn_by_turn_equals_a_count_from_scratch(
    said: list[str], other: list[str], settings: RepetitionSettings
) -> None:
    detect, grown = Repetition(settings), Trajectory("?")
    for count, text in enumerate(said, start=1):
        grown.turns.append(Turn(text))
        assert detect(grown) == slow_repetition(said[:count], settings)
    assert detect(Trajectory("?", [Turn(text) for text in other])) == slow_repetition(other, settings)
    assert detect(grown) == slow_repetition(said, settings)


class Watched(str):
    """A text that counts how often it is split into words."""

    reads = 0

    def split(self, *args: Any) -> list[str]:  # type: ignore[override]
        self.reads += 1
        return super().split(*args)


def test_a_turn_is_searched_for_repetition_once_however_often_the_episode_asks() -> None:
    detector, grown = FatalDetector(FatalSettings(detectors=("repetition",))), Trajectory("?")
    said = [Watched("a different thought " * 9) for _ in range(20)]
    for text in said:
        grown.turns.append(Turn(text))
        assert not detector.so_far(grown)
    assert detector(grown) is None
    assert [text.reads for text in said] == [1] * 20


some_detectors = st.lists(
    st.sampled_from(["errors", "void_turn", "overlong", "repetition", "no_answer"]), min_size=1, unique=True
).map(tuple)
ends = st.sampled_from(["turn_limit", "context_limit", "fatal"])


@given(scripts, ends, some_detectors)
def test_the_earliest_detector_wins(script: str, end: Any, names: Any) -> None:
    died = trajectory(script, end)
    alone = [FatalDetector(FatalSettings(detectors=(name,)))(died) for name in names]
    assert FatalDetector(FatalSettings(detectors=names))(died) == min((s for s in alone if s is not None), default=None)


@given(scripts, some_detectors)
def test_a_trajectory_that_died_stays_dead(script: str, names: Any) -> None:
    whole = trajectory(script)
    asked = FatalDetector(FatalSettings(detectors=names))
    prefixes = [Trajectory("?", whole.turns[:count]) for count in range(len(whole.turns) + 1)]
    said = [asked.so_far(prefix) for prefix in prefixes]
    assert said == sorted(said)
    if said[-1]:
        assert asked(whole) is not None


@given(scripts, some_detectors)
def test_a_failure_of_the_infrastructure_is_never_fatal(script: str, names: Any) -> None:
    assert FatalDetector(FatalSettings(detectors=names))(trajectory(script, "policy_error")) is None
