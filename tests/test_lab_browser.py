"""The lab in a real browser: from the first page to a cured net, in every language."""

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from browsers import needs_chromium, playwright

PATIENCE = 280_000
"""Milliseconds: a cure takes ten seconds of a free processor, and this one may be shared."""

pytestmark = [
    needs_chromium,
    pytest.mark.timeout(360),
]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    command = [sys.executable, "-m", "unvanish", "lab", "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
        server.terminate()
        assert server.wait(20) == 0


@contextlib.contextmanager
def opened(browser: Any, address: str, query: str = "", **context: Any) -> Iterator[Any]:
    """A page of its own; a word in the console or a request elsewhere fails the test."""
    complaints: list[str] = []
    with contextlib.closing(browser.new_context(**context)) as made:
        page = made.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: foreign(request.url, address, complaints))
        page.goto(address + query)
        page.wait_for_selector("#said", timeout=PATIENCE)
        yield page
    assert complaints == []


def foreign(url: str, address: str, complaints: list[str]) -> None:
    if not url.startswith((address, "data:")):
        complaints.append(url)


def settled(page: Any) -> None:
    page.wait_for_selector("#verdict:not([aria-busy])", timeout=PATIENCE)


@pytest.mark.parametrize("language", ["en", "ru", "tr", "uz"])
def test_one_click_cures_the_vanishing_net(browser: Any, address: str, language: str) -> None:
    with opened(browser, address, f"?language={language}") as page:
        assert page.get_attribute("html", "lang") == language
        assert page.get_attribute("#verdict", "class") == "broken"
        page.click("#cure")
        page.wait_for_selector("#treatment h2.good", timeout=PATIENCE)
        page.wait_for_selector("#verdict.good", timeout=PATIENCE)
        assert "initialisation=ours" in page.evaluate("location.search")
        means = page.locator("#treatment tbody tr").last.locator("td").all_inner_texts()
        before, cured = (float(re.sub(r"[^\d,.]", "", mean).replace(",", ".")) for mean in means)
        assert cured > 80 > 40 > before


def test_a_slider_by_keyboard_changes_the_verdict(browser: Any, address: str) -> None:
    with opened(browser, address, "?data=circles&depth=3&width=8") as page:
        assert page.get_attribute("#verdict", "class") == "good"
        page.focus("#slider-depth")
        for _ in range(3):
            page.keyboard.press("PageUp")
        page.wait_for_selector("#verdict.broken", timeout=PATIENCE)
        settled(page)
        assert int(page.input_value("#slider-depth")) > 20
        assert f"depth={page.input_value('#slider-depth')}" in page.evaluate("location.search")


def test_a_link_restores_the_state_and_a_broken_one_says_so(browser: Any, address: str) -> None:
    query = "?data=spirals&depth=4&width=9&activation=relu&rate=oops&norm=%3Cimg%20src=x%3E"
    with opened(browser, address, query) as page:
        settled(page)
        assert page.locator("#problem p").count() == 2
        assert page.locator("#problem img").count() == 0
        assert page.input_value("#slider-data") == "spirals"
        assert page.input_value("#slider-activation") == "relu"
        assert page.input_value("#slider-depth") == "4"


def test_predict_then_run(browser: Any, address: str) -> None:
    with opened(browser, address, "?data=circles&depth=2&width=4") as page:
        chosen = page.locator("#lessons details", has=page.get_by_text("Use an LSTM?"))
        chosen.locator("summary").click()
        chosen.locator("button").first.click()
        run = page.locator("#lesson button.main")
        assert run.is_disabled()
        page.locator("#lesson input[type=radio]").nth(1).check()
        run.click()
        page.wait_for_selector("#lesson p.good")
        playwright.expect(page).to_have_url(re.compile("cell=lstm"), timeout=PATIENCE)


@pytest.mark.parametrize("language", ["en", "uz"])
def test_predict_then_run_a_program(browser: Any, address: str, language: str) -> None:
    query = f"?data=circles&depth=2&width=4&language={language}"
    with opened(browser, address, query) as page:
        subject = page.locator("#lessons details").nth(11)
        subject.locator("summary").click()
        subject.locator("button").first.click()
        page.locator("#lesson input[type=radio]").nth(2).check()
        page.locator("#lesson button.main").click()
        page.wait_for_selector("#lesson p.good")
        page.wait_for_selector("#lesson .program table", timeout=PATIENCE)
        classes = [one.get_attribute("class") for one in page.locator("#lesson .verdict").all()]
        assert classes == ["verdict broken", "verdict good"]
        assert "detach" in page.locator("#lesson .verdict").first.inner_text()
        assert page.locator("#lesson .program canvas").count() >= 1


def test_learners_side_by_side_do_not_disturb_each_other(browser: Any, address: str) -> None:
    mine, theirs = "?data=circles&depth=3&width=8", "?language=ru&data=spirals&depth=4&width=9"
    with opened(browser, address, mine) as one, opened(browser, address, theirs) as other:
        one.click("#train")
        other.focus("#break")
        other.keyboard.press("Enter")
        other.wait_for_selector("#verdict.broken", timeout=PATIENCE)
        other.locator("#treatment summary").focus()
        other.keyboard.press("Enter")
        assert other.locator("#treatment details p").is_visible()
        said = one.locator("#training [role=status]")
        playwright.expect(said).to_contain_text("300", timeout=PATIENCE)
        assert one.get_attribute("#verdict", "class") == "good"
        assert one.input_value("#slider-depth") == "3"
        assert "depth=3" in one.url
        assert other.input_value("#slider-depth") == "30"


def test_training_is_drawn_and_a_closed_page_leaves_the_server_well(
    browser: Any, address: str
) -> None:
    with opened(browser, address, "?data=circles&cell=lstm&steps=200&width=64") as page:
        page.click("#train")
        page.wait_for_selector("#training canvas.heat[height]", timeout=PATIENCE)
    with opened(browser, address, "?data=circles&depth=2&width=4&activation=tanh") as page:
        page.click("#train")
        said = page.locator("#training [role=status]")
        playwright.expect(said).to_contain_text("300", timeout=PATIENCE)
        playwright.expect(page.locator("#train")).to_have_text("Train it", timeout=PATIENCE)
        assert page.locator("#training canvas").count() >= 2


READ_OUT = """() => {
  window.readOut = [];
  const host = document.getElementById("verdict");
  new MutationObserver(() => {
    if (!host.ariaBusy) readOut.push(host.textContent);
  }).observe(host, { childList: true, subtree: true, characterData: true, attributes: true });
}"""
"""What a screen reader would be told: the box whenever it changes and is not busy."""


def drawn(page: Any) -> str:
    """What the picture says in words."""
    return page.inner_text("#profile > p.note")


def first_verdict_held(page: Any) -> list[Any]:
    """The next question for a verdict is held back; those after it are answered."""
    held: list[Any] = []

    def handle(route: Any) -> None:
        if held:
            route.continue_()
        else:
            held.append(route)

    page.route("**/api/judge*", handle)
    return held


def test_the_picture_does_not_wait_for_the_verdict(browser: Any, address: str) -> None:
    with opened(browser, address, "?data=circles&depth=3&width=8&language=uz") as page:
        settled(page)
        page.evaluate(READ_OUT)
        before, said = drawn(page), page.inner_text("#said")
        held = first_verdict_held(page)
        page.fill("#slider-depth + input", "30")
        page.keyboard.press("Tab")
        page.wait_for_selector("#judging", timeout=PATIENCE)  # the former verdict is gone by now
        playwright.expect(page.locator("#profile > p.note")).not_to_have_text(before)
        picture = drawn(page)
        assert page.inner_text("#judging") == "Bu tarmoq baholanmoqda ..."
        assert (page.locator("#said").count(), page.get_attribute("#verdict", "class")) == (0, "")
        assert "…" in page.inner_text("#formulas")
        assert page.evaluate("readOut") == []
        held.pop().continue_()
        page.wait_for_selector("#verdict.broken:not([aria-busy])", timeout=PATIENCE)
        assert page.inner_text("#said") != said
        assert drawn(page) == picture
        assert "…" not in page.inner_text("#formulas")
        assert page.evaluate("readOut") == [page.evaluate("document.all.verdict.textContent")]


def test_a_slider_in_between_drops_the_verdict(browser: Any, address: str) -> None:
    with opened(browser, address, "?data=circles&depth=3&width=8") as page:
        settled(page)
        held = first_verdict_held(page)
        page.fill("#slider-depth + input", "30")
        page.keyboard.press("Tab")
        page.wait_for_selector("#judging", timeout=PATIENCE)
        page.evaluate(READ_OUT)
        page.fill("#slider-depth + input", "4")
        page.keyboard.press("Tab")
        page.wait_for_selector("#verdict.good:not([aria-busy])", timeout=PATIENCE)
        late = {"verdict": {"severity": "broken", "said": "late"}, "findings": [], "updates": []}
        with page.expect_response("**/api/judge*"):
            held.pop().fulfill(json=late)
        page.evaluate("new Promise((done) => setTimeout(done, 50))")
        assert page.get_attribute("#verdict", "class") == "good"
        assert all("late" not in said for said in page.evaluate("readOut"))


def test_a_verdict_that_cannot_be_had_is_said_and_the_next_one_comes(
    browser: Any, address: str
) -> None:
    with opened(browser, address, "?data=circles&depth=3&width=8&language=tr") as page:
        settled(page)
        page.route("**/api/judge*", lambda route: route.fulfill(json={"stale": True}))
        page.fill("#slider-depth + input", "30")
        page.keyboard.press("Tab")
        playwright.expect(page.locator("#verdict")).to_contain_text(
            "Bu ağ değerlendirilmedi.", timeout=PATIENCE
        )
        settled(page)
        page.unroute("**/api/judge*")
        page.fill("#slider-depth + input", "29")
        page.keyboard.press("Tab")
        page.wait_for_selector("#verdict.broken:not([aria-busy])", timeout=PATIENCE)


@pytest.mark.parametrize("language", ["en", "ru", "tr", "uz"])
def test_a_phone_shows_all_of_it(browser: Any, address: str, language: str) -> None:
    size = {"width": 360, "height": 740}
    with opened(browser, address, f"?language={language}&depth=5", viewport=size) as page:
        settled(page)
        wider = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.evaluate(wider) <= 0
        assert page.locator("#cure").is_visible()


def test_every_control_has_a_name(browser: Any, address: str) -> None:
    nameless = """() => [...document.querySelectorAll('input, select, button')]
        .filter((one) => !(one.textContent.trim() || one.ariaLabel || one.labels?.length))
        .map((one) => one.outerHTML)"""
    with opened(browser, address, "?data=circles&depth=2&width=4") as page:
        assert page.evaluate(nameless) == []
