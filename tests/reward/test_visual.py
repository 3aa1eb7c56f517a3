"""r_visual, worked by hand, and what holds of it for any trajectory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osvl_plugins.reward.visual import OPERATIONS, credited_operations, visual_score
from osvl_plugins.trajectory import ImageRecord, Observation, StepError, ToolCall, Trajectory, Turn

EVIDENCE = ["oslo", "norway"]
QUESTION = "Which city is shown here?"


class Script:
    """A trajectory that starts with one picture, ``img_1``, turn by turn."""

    def __init__(self) -> None:
        self.trajectory = Trajectory(QUESTION, [], [ImageRecord("img_1", 9, 9)])

    def operation(self, tool: str, source: str, text: str = "", failed: bool = False) -> str:
        """A step on ``source``; the id of the picture that it made."""
        made = "" if failed or tool == "layout_parsing" else f"img_{len(self.trajectory.images) + 1}"
        error = StepError("timeout", "") if failed else None
        observation = Observation(text, (made,) if made else (), error)
        self.trajectory.turns.append(Turn("", ToolCall(tool, {"image": source}), observation=observation))
        if made:
            self.trajectory.images.append(ImageRecord(made, 9, 9, tool, source))
        return made

    def search(self, tool: str, what: str, *pages: str, failed: bool = False) -> None:
        error = StepError("timeout", "") if failed else None
        arguments = {"url": what} if tool == "image_search" else {"q": what}
        observation = Observation(" ".join(pages), error=error, pages=() if failed else pages)
        self.trajectory.turns.append(Turn("", ToolCall(tool, arguments), observation=observation))

    def score(self) -> float | None:
        return visual_score(self.trajectory, EVIDENCE, QUESTION)


def played(script: str) -> Trajectory:
    """A trajectory from lines such as ``crop 1 | image_search 2 : oslo``.

    A step on a picture names the picture; the text that ``layout_parsing`` read follows a colon. A search names a
    picture or, in quotes, a query; the pages that it showed follow a colon. ``!`` marks a call that failed.
    """
    done = Script()
    for line in script.split("|"):
        head, _, tail = line.partition(":")
        failed = "!" in head
        tool, _, what = head.replace("!", "").strip().partition(" ")
        if tool in OPERATIONS:
            done.operation(tool, f"img_{what.strip()}", tail.strip(), failed)
        elif tool == "visit":
            done.search("visit", what, *tail.split())
        else:
            name = what.strip("'") if "'" in what else f"img_{what.strip()}"
            done.search(tool, name, *tail.split(), failed=failed)
    return done.trajectory


BY_HAND = [
    # a crop whose look-up brings evidence, and one whose look-up brings nothing
    ("crop 1 | image_search 2 : oslo", 1.0),
    ("crop 1 | image_search 2 : bergen", 0.0),
    ("crop 1 | image_search 2", 0.0),
    # the picture of the question was looked up, not the crop
    ("crop 1 | image_search 1 : oslo", 0.0),
    # the page was known before
    ("image_search 1 : oslo | crop 1 | image_search 2 : oslo", 0.0),
    ("visit x : oslo | crop 1 | image_search 2 : oslo", 0.0),
    # but another page of the evidence was not
    ("image_search 1 : oslo | crop 1 | image_search 2 : oslo norway", 1.0),
    # a crop, then sharpened, then looked up: both led there
    ("crop 1 | sharpen 2 | image_search 3 : oslo", 1.0),
    # of three times the same only the last counts
    ("sharpen 1 | sharpen 2 | sharpen 3 | image_search 4 : oslo", 1 / 3),
    ("crop 1 | sharpen 2 | sharpen 3 | image_search 4 : oslo", 2 / 3),
    # two crops, one of them looked up
    ("crop 1 | crop 1 | image_search 2 : oslo", 1 / 2),
    ("crop 1 | crop 1 | image_search 3 : oslo", 1 / 2),
    # each crop brings its own page
    ("crop 1 | image_search 2 : oslo | crop 1 | image_search 3 : norway", 1.0),
    # the same look-up again brings nothing new
    ("crop 1 | image_search 2 : oslo | crop 1 | image_search 3 : oslo", 1 / 2),
    # what was read is searched for
    ("layout_parsing 1 : Karl Johans gate | text_search 'Karl Johans gate' : oslo", 1.0),
    ("layout_parsing 1 : KARL JOHÁNS | web_search 'karl johans' : oslo", 1.0),
    ("layout_parsing 1 : Karl Johans gate | text_search 'Aker Brygge' : oslo", 0.0),
    # words of the question are not what was read
    ("layout_parsing 1 : city | text_search 'which city' : oslo", 0.0),
    # the words were known from a page before
    ("visit x : Johans | layout_parsing 1 : Johans | text_search 'Johans' : oslo", 0.0),
    # a crop of a sign, read, searched for
    ("crop 1 | layout_parsing 2 : Rådhuset | text_search 'Rådhuset' : oslo", 1.0),
    # what a crop showed is not recorded; the query must say something new
    ("crop 1 | text_search 'Rådhuset' : oslo", 1.0),
    ("crop 1 | text_search 'city shown' : oslo", 0.0),
    # another search came in between
    ("crop 1 | text_search 'Rådhuset' | text_search 'Aker' : oslo", 0.0),
    ("crop 1 | text_search! 'Rådhuset' | text_search 'Rådhuset' : oslo", 1.0),
    # read twice: once was enough
    ("layout_parsing 1 : Aker | layout_parsing 1 : Aker | text_search 'Aker' : oslo", 1 / 2),
    # scripts without spaces
    ("layout_parsing 1 : 奥斯陆市政厅 | text_search '市政厅在哪里' : oslo", 1.0),
    # a call that failed is no operation
    ("crop! 1 | crop 1 | image_search 2 : oslo", 1.0),
    ("crop! 1", None),
    ("image_search 1 : oslo", None),
]


@pytest.mark.parametrize(("script", "score"), BY_HAND)
def test_trajectories_worked_by_hand(script: str, score: float | None) -> None:
    assert visual_score(played(script), EVIDENCE, QUESTION) == score


def test_without_evidence_it_says_nothing() -> None:
    assert visual_score(played("crop 1 | image_search 2 : oslo"), [], QUESTION) is None


@pytest.mark.parametrize("name", ["img_2", "IMG2", " img_02 "])
def test_a_picture_is_known_by_each_name_that_the_tools_take(name: str) -> None:
    done = Script()
    done.operation("crop", "img_1")
    done.search("image_search", name, "oslo")
    assert done.score() == 1.0


def test_layout_parsing_knows_its_picture_by_its_other_argument() -> None:
    done = played("crop 1 | layout_parsing 2 : Aker | text_search 'Aker' : oslo")
    done.turns[1].call = ToolCall("layout_parsing", {"file_path": "img_2"})
    assert visual_score(done, EVIDENCE, QUESTION) == 1.0


@pytest.mark.parametrize(("fatal_step", "score"), [(1, 0.0), (2, 1.0), (4, 0.5), (None, 0.5)])
def test_of_a_fatal_trajectory_only_what_came_before_the_fatal_step_counts(
    fatal_step: int | None, score: float
) -> None:
    done = played("crop 1 | image_search 2 : oslo | crop 1 | image_search 3")
    done.fatal_step = fatal_step
    assert visual_score(done, EVIDENCE, QUESTION) == score


def test_a_picture_that_was_made_from_itself_ends_the_search_for_its_origin() -> None:
    done = played("crop 1 | image_search 2 : oslo")
    done.images = [ImageRecord("img_1", 9, 9, "crop", "img_2"), ImageRecord("img_2", 9, 9, "crop", "img_1")]
    assert visual_score(done, EVIDENCE, QUESTION) == 1.0


WORDS = st.sampled_from(["alpha", "beta", "gamma", "delta"])
PAGES = st.lists(st.sampled_from(["oslo", "norway", "bergen"]), max_size=2)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(sorted(OPERATIONS)), st.integers(1, 5), WORDS, st.booleans()),
        st.tuples(st.just("image_search"), st.integers(1, 6), PAGES, st.booleans()),
        st.tuples(st.sampled_from(["text_search", "web_search", "visit"]), WORDS, PAGES, st.booleans()),
    ),
    max_size=9,
)


def built(steps: list[tuple[str, int | str, str | list[str], bool]]) -> Trajectory:
    done = Script()
    for tool, what, result, failed in steps:
        if isinstance(result, str):
            known = min(int(what), len(done.trajectory.images))
            done.operation(tool, f"img_{known}", result if tool == "layout_parsing" else "", failed)
        else:
            done.search(tool, f"img_{what}" if tool == "image_search" else str(what), *result, failed=failed)
    return done.trajectory


@given(STEPS)
def test_it_lies_between_0_and_1(steps: list[tuple[str, int | str, str | list[str], bool]]) -> None:
    score = visual_score(built(steps), EVIDENCE, QUESTION)
    assert score is None or 0 <= score <= 1


@given(STEPS)
def test_leaving_out_an_operation_without_credit_never_lowers_it(
    steps: list[tuple[str, int | str, str | list[str], bool]],
) -> None:
    whole = built(steps)
    before = visual_score(whole, EVIDENCE, QUESTION)
    credited = credited_operations(whole, EVIDENCE, QUESTION)
    for place in range(len(whole.turns)):
        if is_operation(whole.turns[place]) and place not in credited:
            without = Trajectory(QUESTION, whole.turns[:place] + whole.turns[place + 1 :], whole.images)
            after = visual_score(without, EVIDENCE, QUESTION)
            assert after is None or before is None or after >= before


@given(STEPS)
def test_two_equal_operations_in_a_row_may_change_places(
    steps: list[tuple[str, int | str, str | list[str], bool]],
) -> None:
    done = built(steps)
    before = visual_score(done, EVIDENCE, QUESTION)
    for place in range(len(done.turns) - 1):
        first, second = done.turns[place : place + 2]
        if is_operation(first) and is_operation(second) and first.call == second.call and text(first) == text(second):
            turns = [*done.turns[:place], second, first, *done.turns[place + 2 :]]
            assert visual_score(Trajectory(QUESTION, turns, done.images), EVIDENCE, QUESTION) == before


def is_operation(turn: Turn) -> bool:
    return turn.call is not None and turn.call.name in OPERATIONS


def text(turn: Turn) -> tuple[str, bool]:
    assert turn.observation is not None
    return turn.observation.text, turn.is_error
