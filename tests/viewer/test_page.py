"""The page in a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from osvl_plugins.cli import main
from osvl_plugins.trajectory import ImageRecord, Observation, StepError, ToolCall, Trajectory, Turn
from tests.viewer.dumps import asked, cut, evaluation, picture, questions, rollouts
from tests.viewer.screens import DESK, NEEDED, PHONE, Opener

expect = pytest.importorskip("playwright.sync_api", reason=NEEDED).expect
EVIL = "<img src=x onerror=window.pwned=1></script><script>window.pwned=1</script>\u202e javascript:window.pwned=1"


def view(out: Path, *arguments: str | Path) -> Path:
    assert main(["view", *map(str, arguments), "--out", str(out)]) == 0
    return out


def texts(page: Any, selector: str) -> list[str]:
    return [str(text) for text in page.locator(selector).all_inner_texts()]


def listed(page: Any) -> list[str]:
    """The questions in the list."""
    return texts(page, ".row-question")


def visible_turn(page: Any) -> str | None:
    return page.evaluate("document.activeElement.dataset.turn ?? null")  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two steps of a run: answers, failures, a fatal trajectory, a crop."""
    folder = tmp_path_factory.mktemp("mixed")
    died = asked("c e e e", "how long is it", end="fatal", fatal_step=1)
    searched = asked("c", "who painted it", end="turn_limit")
    searched.turns[0].observation = Observation("A needle in Lima")
    broken = asked("c n A", "where is it")
    failed = asked("c", "who is it", end="policy_error", failure="the server went away")
    rollouts(folder / "run", 1, died, searched, reward={"score": 0.1, "accuracy": 0.0})
    rollouts(folder / "run", 12, broken, cut("what is red"), reward={"score": 1.0, "accuracy": 1.0})
    rollouts(folder / "run", 3, failed, samples=1, reward={"score": None, "unscored": "no judge"})
    return view(folder / "page.html", folder / "run")


def test_the_list_has_every_trajectory_in_the_order_of_the_steps(mixed: Path, open_page: Opener) -> None:
    page = open_page(mixed)
    assert listed(page) == ["how long is it", "who painted it", "who is it", "where is it", "what is red"]
    assert page.inner_text("#count").strip() == "5"


@pytest.mark.parametrize(
    ("name", "value", "left"),
    [
        ("group", "=12", ["where is it", "what is red"]),
        ("end", "=policy_error", ["who is it"]),
        ("fatal", "yes", ["how long is it"]),
        ("fatal", "no", ["who painted it", "who is it", "where is it", "what is red"]),
        ("outcome", "=right", ["where is it", "what is red"]),
        ("outcome", "=unscored", ["who is it"]),
        ("tool", "=crop", ["what is red"]),
        ("kind", "=timeout", ["how long is it"]),
        ("kind", "any", ["how long is it", "where is it"]),
        ("kind", "none", ["who painted it", "who is it", "what is red"]),
    ],
)
def test_a_filter_leaves_what_it_names(mixed: Path, open_page: Opener, name: str, value: str, left: list[str]) -> None:
    page = open_page(mixed)
    page.select_option(f"select[name={name}]", value)
    assert listed(page) == left
    page.click("button[type=reset]")
    expect(page.locator(".row")).to_have_count(5)


def test_filters_hold_together_and_by_range(mixed: Path, open_page: Opener) -> None:
    page = open_page(mixed)
    page.fill("input[name=high]", "0.5")
    assert listed(page) == ["how long is it", "who painted it"]
    page.select_option("select[name=fatal]", "no")
    assert listed(page) == ["who painted it"]
    assert page.inner_text("#filter-count") == "(2)"
    page.fill("input[name=low]", "0.2")
    assert listed(page) == []


def test_a_search_finds_words_in_observations_whatever_their_case(mixed: Path, open_page: Opener) -> None:
    page = open_page(mixed)
    page.fill("#search", "LIMA needle")
    expect(page.locator(".row")).to_have_count(1)
    assert listed(page) == ["who painted it"]
    page.fill("#search", "needle nowhere")
    assert listed(page) == []


def test_the_keyboard_alone_is_enough(mixed: Path, open_page: Opener) -> None:
    page = open_page(mixed, viewport=PHONE)
    page.keyboard.press("/")
    page.keyboard.type("how long")
    expect(page.locator(".row")).to_have_count(1)
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowDown")
    page.wait_for_selector("h2.question")
    assert page.inner_text("h2.question") == "how long is it"
    page.keyboard.press("ArrowRight")
    assert visible_turn(page) == "0"
    page.keyboard.press("f")
    assert visible_turn(page) == "1"
    page.keyboard.press("ArrowLeft")
    assert visible_turn(page) == "0"
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "list"
    page.keyboard.press("?")
    assert page.locator("#keys").is_visible()


def test_j_and_k_step_through_what_the_filter_leaves(mixed: Path, open_page: Opener) -> None:
    page = open_page(mixed)
    page.select_option("select[name=group]", "=12")
    page.locator("main").focus()
    seen = []
    for key in "jjjkk":
        page.keyboard.press(key)
        page.wait_for_timeout(50)
        seen.append(page.inner_text("h2.question"))
    assert seen == ["where is it", "what is red", "what is red", "where is it", "where is it"]


def test_an_address_leads_to_its_turn_and_back_to_the_list(mixed: Path, open_page: Opener) -> None:
    page = open_page(mixed, "#1%2Fu0_0_0/2", viewport=PHONE)
    page.wait_for_selector("h2.question")
    assert page.inner_text("h2.question") == "how long is it"
    expect(page.locator("[data-turn='2']")).to_be_focused()
    page.click(".back")
    page.locator(".row").nth(1).click()
    expect(page.locator("h2.question")).to_have_text("who painted it")
    assert page.evaluate("location.hash") == "#1%2Fu0_1_0"
    page.go_back()
    expect(page.locator("h2.question")).to_have_text("how long is it")


def test_an_address_that_names_nothing_shows_the_list(mixed: Path, open_page: Opener) -> None:
    assert open_page(mixed, "#%E0%A4%A", viewport=PHONE).locator("#list").is_visible()


def test_the_fatal_step_and_what_trains_are_marked(mixed: Path, open_page: Opener) -> None:
    page = open_page(mixed, "#1%2Fu0_0_0")
    page.wait_for_selector(".turn")
    classes = page.eval_on_selector_all(".turn", "nodes => nodes.map(node => node.className)")
    assert classes == ["turn trains", "turn masked error", "turn masked error", "turn masked error"]
    assert texts(page, ".turn .fatal-line") == ["Fatal step"]
    assert page.locator(".turn").nth(1).locator(".fatal-line").count() == 1
    assert texts(page, ".turn .tokens") == ["2 tokens, trains"] + ["2 tokens, masked"] * 3
    assert "8 tokens sampled, 2 train" in page.inner_text(".facts")


def test_a_failure_of_the_infrastructure_is_told_and_trains_nothing(mixed: Path, open_page: Opener) -> None:
    page = open_page(mixed, "#3%2Fu0_0_0")
    page.wait_for_selector(".note")
    assert texts(page, ".note") == ["Failed outside the policy: the server went away", "Not scored: no judge"]
    assert texts(page, ".turn .tokens") == ["2 tokens, masked"]


def test_thoughts_are_shown_and_hidden(mixed: Path, open_page: Opener) -> None:
    page = open_page(mixed, "#12%2Fu0_1_0")
    page.wait_for_selector(".thought")
    assert texts(page, ".thought .text") == ["closer", "seen"]
    page.keyboard.press("t")
    assert not page.locator(".thought .text").first.is_visible()
    page.keyboard.press("k")
    page.keyboard.press("j")
    page.wait_for_selector(".thought", state="attached")
    assert not page.locator(".thought .text").first.is_visible()


def test_what_was_searched_beforehand_unfolds_and_is_searched(tmp_path: Path, open_page: Opener) -> None:
    told = asked("A", "who painted it", found="[text_search for the question]\nA needle in Lima")
    evaluation(tmp_path / "told.jsonl", told, asked("A", "who built it"))
    page = open_page(view(tmp_path / "page.html", tmp_path / "told.jsonl"))
    page.fill("#search", "needle")
    expect(page.locator(".row")).to_have_count(1)
    page.locator(".row").click()
    page.locator(".found summary").click()
    assert texts(page, ".found .text") == ["[text_search for the question]\nA needle in Lima"]


def test_the_samples_of_one_question_can_be_shown_alone(mixed: Path, open_page: Opener) -> None:
    page = open_page(mixed, "#12%2Fu0_0_0")
    page.click("text=2 samples")
    assert listed(page) == ["where is it", "what is red"]
    page.click("#same-off")
    assert len(listed(page)) == 5


@pytest.mark.parametrize("known", [True, False], ids=["with the question's picture", "without it"])
def test_a_box_lies_where_the_crop_was_cut(tmp_path: Path, open_page: Opener, known: bool) -> None:
    dump = rollouts(tmp_path, 1, cut())
    data = questions(tmp_path / "data.parquet", ("What is red?", "right", picture()))
    page = open_page(view(tmp_path / "page.html", dump, *(["--data", data] if known else [])), "#1%2Fu0_0_0")
    page.wait_for_selector(".box")
    assert page.locator(".frame img").count() == (4 if known else 0)
    frame, box = (page.locator(selector).first.bounding_box() for selector in (".frame", ".box"))
    scale = frame["width"] / 200
    edge = 0 if known else 1  # an empty frame has a border
    assert [box["x"] - frame["x"], box["y"] - frame["y"]] == pytest.approx([50 * scale, 20 * scale], abs=1 + edge)
    assert [box["width"], box["height"]] == pytest.approx([60 * scale, 40 * scale], abs=1 + edge)
    if known:
        size = "image => [image.naturalWidth, image.naturalHeight]"
        assert [image.evaluate(size) for image in page.locator(".pictures > figure img").all()[:2]] == [
            [200, 100],
            [60, 40],
        ]


def test_a_crop_that_was_refused_is_drawn_as_refused(tmp_path: Path, open_page: Opener) -> None:
    box = {"image": "img_1", "x": 150, "y": 20, "width": 900, "height": 40}
    failed = Observation("Error (bad_arguments): outside", error=StepError("bad_arguments", "outside"))
    made = Trajectory("q", [Turn("", ToolCall("crop", box), observation=failed)], [ImageRecord("img_1", 200, 100)])
    page = open_page(view(tmp_path / "page.html", rollouts(tmp_path, 1, made)), "#1%2Fu0_0_0")
    page.wait_for_selector(".box.refused")
    assert page.get_attribute(".box", "title") == "150, 20, 900×40 in turn 0, refused"


def compared(folder: Path) -> Path:
    one = evaluation(folder / "a.jsonl", asked("c c A", "alpha"), asked("c X", "beta"), scores=[1.0, 0.0])
    other = evaluation(folder / "b.jsonl", asked("c A", "gamma"), asked("c b A", "alpha"), scores=[1.0, 0.5])
    return view(folder / "page.html", "--compare", one, other)


def test_a_comparison_pairs_questions_and_shows_where_they_part(tmp_path: Path, open_page: Opener) -> None:
    page = open_page(compared(tmp_path))
    assert listed(page) == ["alpha", "beta", "gamma"]
    page.locator(".row").nth(0).click()
    page.wait_for_selector(".comparison")
    left, right = (page.locator(".side-title").nth(side).bounding_box() for side in (0, 1))
    assert left["y"] == right["y"]
    assert left["x"] + left["width"] <= right["x"]
    assert page.locator(".difference").count() == 0
    page.locator(".row").nth(1).click()
    expect(page.locator("h2.question")).to_have_text("beta")
    assert "has no trajectory for this question" in page.inner_text(".comparison")


def test_the_first_difference_of_two_trajectories_is_marked(tmp_path: Path, open_page: Opener) -> None:
    files = [evaluation(tmp_path / f"{name}.jsonl", asked(s, "q")) for name, s in (("a", "c c A"), ("b", "c A"))]
    page = open_page(view(tmp_path / "page.html", "--compare", *files))
    page.wait_for_selector(".comparison")
    order = page.eval_on_selector_all(
        ".comparison > .difference, .comparison > .turns", "nodes => nodes.map(node => node.className)"
    )
    assert order == ["half turns"] * 2 + ["difference"] + ["half turns"] * 3


def test_a_comparison_is_filtered_by_change(tmp_path: Path, open_page: Opener) -> None:
    page = open_page(compared(tmp_path))
    for change, left in (("down", ["alpha"]), ("up", []), ("alone", ["beta", "gamma"])):
        page.select_option("select[name=change]", change)
        assert listed(page) == left


def evil() -> Trajectory:
    """Every text of a trajectory tries to break out."""
    failed = Observation(EVIL, error=StepError("failed", EVIL), pages=(EVIL, "javascript:window.pwned=1"), backend=EVIL)
    shown = Observation(EVIL, ("<b>img</b>",), backend=EVIL)
    named = ToolCall(EVIL, {EVIL: EVIL, "url": "javascript:window.pwned=1"})
    crop = ToolCall("crop", {"image": "<b>img</b>", "x": 1, "y": 1, "width": 1, "height": 1})
    turns = [
        Turn(f"<think>{EVIL}</think>{EVIL}", named, observation=failed),
        Turn(EVIL, crop, observation=shown),
        Turn(EVIL, answer=EVIL),
    ]
    images = [ImageRecord("<b>img</b>", 10, 10, EVIL, EVIL)]
    return Trajectory(EVIL, turns, images, "answer", failure=EVIL)


@pytest.mark.parametrize("viewport", [DESK, PHONE, {"width": 320, "height": 640}], ids=["desk", "phone", "narrow"])
def test_nothing_that_a_model_or_a_tool_wrote_acts(tmp_path: Path, open_page: Opener, viewport: dict[str, int]) -> None:
    reward = {"score": 0.1, "reason": EVIL, "unscored": EVIL}
    dump = rollouts(tmp_path, 1, evil(), world=EVIL, uid=EVIL, gts=[EVIL], reward=reward)
    page = open_page(view(tmp_path / "page.html", dump), viewport=viewport)
    page.locator(".row").first.click()
    page.wait_for_selector(".turn")
    page.fill("#search", "onerror") if viewport is DESK else page.keyboard.press("ArrowRight")
    page.wait_for_timeout(200)
    assert page.evaluate("window.pwned") is None
    assert page.locator("main a, main img, main script, main iframe, .row img").count() == 0
    assert page.locator("main b", has_text="img").count() == page.locator("figcaption b").count()
    assert page.inner_text("h2.question").startswith("<img src=x onerror=window.pwned=1></script>")
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]


def test_the_pages_own_policy_stops_markup_and_scripts(mixed: Path, browser: Any) -> None:
    page = browser.new_page()
    page.goto(mixed.as_uri())
    write = "() => { try { document.body.innerHTML = '<p>'; return 'written' } catch (error) { return error.name } }"
    assert page.evaluate(write) == "TypeError"
    policy = page.get_attribute("meta[http-equiv=Content-Security-Policy]", "content")
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    blocked = """() => new Promise(resolve => {
      document.addEventListener("securitypolicyviolation", event => resolve(event.effectiveDirective));
      fetch("https://example.org/").catch(() => {});
    })"""
    assert page.evaluate(blocked) == "connect-src"
    page.close()


def test_ten_thousand_trajectories_open_and_filter(tmp_path: Path, open_page: Opener) -> None:
    made = [asked("c e c A", f"question {n}") for n in range(9_999)]
    dump = rollouts(tmp_path, 1, *made, asked("c e e e", "the last", end="fatal", fatal_step=1), samples=8)
    page = open_page(view(tmp_path / "page.html", dump))
    assert page.inner_text("#count").strip() == "10000"
    assert page.locator(".row").count() < 60
    page.fill("#search", "question 7777")
    expect(page.locator(".row-question")).to_have_text(["question 7777"])
    page.fill("#search", "")
    page.select_option("select[name=fatal]", "yes")
    assert listed(page) == ["the last"]
    page.select_option("select[name=fatal]", "")
    page.focus("#list")
    page.keyboard.press("End")
    expect(page.locator("h2.question")).to_have_text("the last")
    assert page.get_attribute("[aria-selected=true]", "aria-posinset") == "10000"


@pytest.mark.parametrize("width", [320, 390, 1440])
def test_no_width_makes_the_page_scroll_sideways(mixed: Path, open_page: Opener, width: int) -> None:
    page = open_page(mixed, "#12%2Fu0_1_0", viewport={"width": width, "height": 700})
    page.wait_for_selector(".turn")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.querySelector('main').scrollWidth <= document.querySelector('main').clientWidth")


def test_the_page_follows_the_colours_of_the_system(mixed: Path, open_page: Opener) -> None:
    papers = []
    for scheme in ("light", "dark"):
        page = open_page(mixed, color_scheme=scheme)
        papers.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert papers == ["rgb(250, 249, 246)", "rgb(21, 23, 26)"]


def test_print_is_the_trajectory_alone_with_its_thoughts(mixed: Path, open_page: Opener) -> None:
    page = open_page(mixed, "#12%2Fu0_1_0")
    page.wait_for_selector(".thought")
    page.keyboard.press("t")
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert not page.locator(".side").is_visible()
    assert not page.locator(".toolbar").is_visible()
    assert texts(page, ".thought .text") == ["closer", "seen"]
