"""The dashboard in a real browser: seen, followed live, worked by mouse and by keyboard alone."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from browsers import needs_chromium
from dashboards import HOSTILE, alarm, diagnosis_json, entries, reading, record, served

from unvanish.languages import LANGUAGES, catalog_json
from unvanish.recording import Writer

pytestmark = needs_chromium

SINGLE_LAYERS = """() => [...document.querySelectorAll('.names span')]
  .some(name => /^layers[.][0-9]+$/.test(name.textContent))"""
STATISTIC, ROWS = "#tools select >> nth=0", "#tools select >> nth=1"
NOT_BLANK = """canvas => {
  const copy = new OffscreenCanvas(canvas.width, canvas.height);
  const context = copy.getContext('2d', { willReadFrequently: true });
  context.drawImage(canvas, 0, 0);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  const colours = new Set();
  for (let i = 0; i < data.length; i += 4 * 97) colours.add(data.slice(i, i + 3).join());
  return colours.size;
}"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("runs")
    record(place / "second", steps=40)
    record(place / "hostile", steps=20, hostile=True)
    record(place / "first", steps=300, tensors=200, look=diagnosis_json())
    newest = time.time() + 5
    os.utime(place / "first" / "recording.sqlite", (newest, newest))
    return place


@pytest.fixture(scope="module")
def address(folder: Path) -> Generator[str]:
    with served(folder) as found:
        yield found


@contextlib.contextmanager
def opened(browser: Any, address: str, **options: Any) -> Generator[Any]:
    """A page that is shown; its console stays empty, and it asks nobody else."""
    context = browser.new_context(
        **{"locale": "en-US", "viewport": {"width": 1300, "height": 900}} | options
    )
    page = context.new_page()
    page.set_default_timeout(20_000)
    said: list[str] = []
    page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: said.append(f"error: {error}"))
    host = urllib.parse.urlsplit(address).netloc
    page.on(
        "request",
        lambda asked: (
            said.append(asked.url)
            if host not in asked.url.split("/")[2:3] and not asked.url.startswith("data:")
            else None
        ),
    )
    page.goto(address)
    yield page
    context.close()
    assert said == []


def shown(page: Any) -> None:
    """Wait until the map and the curves are drawn."""
    page.locator(".chart:not(.hidden) canvas").first.wait_for()


def run_named(page: Any, name: str) -> None:
    if not page.locator("#recordings details").evaluate("box => box.open"):
        page.locator("#recordings summary").click()
    page.get_by_role("button", name=name, exact=True).click()
    page.wait_for_function(
        "name => document.querySelector('#run h2').textContent.startsWith(name)", arg=name
    )
    shown(page)


def steady(what: Any) -> dict[str, float]:
    """Where something stands, once what was asked for is drawn and nothing moves any more."""
    what.page.wait_for_function("() => !document.querySelector('[aria-busy]')")
    before, now = None, what.bounding_box()
    while now != before:
        what.page.wait_for_timeout(250)
        before, now = now, what.bounding_box()
    return now


def reading_line(page: Any) -> str:
    return page.locator("#reading").inner_text()


def steps_shown(page: Any) -> str:
    # As the page itself has it: what playwright calls its address comes a moment later.
    return page.evaluate("new URLSearchParams(location.search).get('steps') || ''")


def test_the_page_draws_the_map_the_curves_and_what_happened(browser: Any, address: str) -> None:
    with opened(browser, address) as page:
        shown(page)
        assert page.locator(".field canvas").evaluate(NOT_BLANK) > 20
        assert page.locator("#run h2").inner_text().startswith("first")
        assert "300 steps · 200 tensors" in page.locator("#run").inner_text()
        assert page.locator(".chart:not(.hidden)").count() == 4
        page.get_by_text("the step is too large").first.wait_for()
        assert page.locator(".mark-alarm").count() == 1
        assert page.locator(".mark-action").count() == 1


def test_hover_shows_the_recorded_number(browser: Any, address: str) -> None:
    with opened(browser, f"{address}?rows=tensors") as page:
        shown(page)
        box = steady(page.locator(".field"))
        page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 1)
        step = int(reading_line(page).split(" ")[1])
        assert 145 <= step <= 155
        assert "layers.0.weight" in reading_line(page)
        assert f"(log10 {round(-step / 50, 3):g})".replace("-", "-") in reading_line(page)


def test_drag_wheel_and_buttons_zoom(browser: Any, address: str) -> None:
    with opened(browser, address) as page:
        shown(page)
        page.get_by_text("the step is too large").first.wait_for()  # from here on nothing moves
        box = steady(page.locator(".field"))
        middle = box["y"] + box["height"] / 2
        page.mouse.move(box["x"] + box["width"] * 0.25, middle)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.5, middle, steps=4)
        page.mouse.up()
        first, last = map(int, steps_shown(page).split("-"))
        assert 70 <= first <= 80
        assert 145 <= last <= 155
        page.mouse.move(box["x"] + box["width"] / 2, middle)
        page.mouse.wheel(0, -100)
        page.wait_for_function("before => !location.search.includes(before)", arg=f"{first}-{last}")
        closer = [int(end) for end in steps_shown(page).split("-")]
        assert first < closer[0] < closer[1] < last
        page.get_by_role("button", name="Show all").click()
        assert steps_shown(page) == ""
        page.get_by_role("button", name="Zoom in").click()
        assert steps_shown(page) != ""
        page.get_by_role("button", name="Zoom out").click()
        assert steps_shown(page) == ""
        curve = page.locator(".chart:not(.hidden) .u-over").nth(1)
        curve.scroll_into_view_if_needed()
        over = steady(curve)
        page.mouse.move(over["x"] + over["width"] * 0.5, over["y"] + 60)
        page.mouse.down()
        page.mouse.move(over["x"] + over["width"] * 0.75, over["y"] + 60, steps=4)
        page.mouse.up()
        assert 145 <= int(steps_shown(page).split("-")[0]) <= 155


def test_rows_open_into_tensors_and_curves_come_and_go(browser: Any, address: str) -> None:
    with opened(browser, address) as page:
        shown(page)
        legend = page.locator(".chart").first.locator(".legend li")
        assert legend.count() == 2
        box = steady(page.locator(".field"))
        page.mouse.click(box["x"] + 50, box["y"] + box["height"] / 2)
        page.wait_for_function(
            "() => document.querySelectorAll('.chart')[0].querySelectorAll('.legend li').length === 3"
        )
        legend.nth(2).get_by_role("button").click()
        page.wait_for_function(
            "() => document.querySelectorAll('.chart')[0].querySelectorAll('.legend li').length === 2"
        )
        assert " ... " in reading_line(page)
        page.get_by_role("button", name="Open block").click()
        page.wait_for_function(SINGLE_LAYERS)
        page.get_by_role("button", name="Back").click()
        page.locator(ROWS).select_option("tensors")
        page.wait_for_function(
            "() => [...document.querySelectorAll('.names span')].some(s => s.textContent.endsWith('weight'))"
        )
        page.locator("#tools input").fill("layers.7.bias")
        page.keyboard.press("Enter")
        page.wait_for_function(
            "() => document.querySelectorAll('.chart')[0].textContent.includes('layers.7.bias')"
        )


def test_every_statistic_is_drawn(browser: Any, address: str) -> None:
    with opened(browser, address) as page:
        shown(page)
        options = (
            page.locator(STATISTIC).locator("option").evaluate_all("all => all.map(o => o.value)")
        )
        assert options == [
            "gradient_rms",
            "update_to_weight",
            "gradient_zeros",
            "gradient_nonfinite",
            "weight_rms",
            "histogram",
        ]
        for value in options:
            with page.expect_response(
                lambda got: "/api/heat" in got.url or "/api/histogram" in got.url
            ) as got:
                page.locator(STATISTIC).select_option(value)
            assert got.value.ok
            page.wait_for_timeout(50)
            assert page.locator(".field canvas").evaluate(NOT_BLANK) >= 1
        page.locator("#tools input").fill("layers.3.weight")
        with page.expect_response(lambda got: "tensor=6" in got.url):
            page.keyboard.press("Enter")


def test_all_of_it_by_keyboard(browser: Any, address: str) -> None:
    with opened(browser, address) as page:
        shown(page)
        field = page.locator(".field")
        for _ in range(40):
            page.keyboard.press("Tab")
            if field.evaluate("here => here === document.activeElement"):
                break
        assert field.evaluate("here => here === document.activeElement")
        assert field.evaluate("here => getComputedStyle(here).outlineStyle") == "solid"
        for key in ("Home", "ArrowRight", "ArrowDown", "ArrowDown", "ArrowUp"):
            page.keyboard.press(key)
        assert page.locator("#live").inner_text().startswith("step 1 · layers.")
        assert page.locator("#live").inner_text() == reading_line(page)
        page.keyboard.press("Shift+ArrowRight")
        assert reading_line(page).startswith("step 11 ")
        for key, zoomed in (("+", True), ("0", False), ("+", True), ("-", False)):
            page.keyboard.press(key)
            assert bool(steps_shown(page)) == zoomed, key
        page.keyboard.press("Enter")
        page.wait_for_function(
            "() => document.querySelectorAll('.chart')[0].querySelectorAll('.legend li').length === 3"
        )
        page.keyboard.press("o")
        page.wait_for_function(SINGLE_LAYERS)
        page.keyboard.press("u")
        look = page.get_by_role("button", name="Deep look at step 41")
        look.focus()
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Findings").wait_for()
        page.keyboard.press("Escape")
        page.wait_for_function(
            "() => document.activeElement.textContent === 'Deep look at step 41'"
        )


def test_from_an_alarm_to_its_deep_look(browser: Any, address: str) -> None:
    with opened(browser, address) as page:
        shown(page)
        page.get_by_role("button", name="Show step 40").click()
        assert reading_line(page).startswith("step 40 ")
        page.get_by_role("button", name="Deep look at step 41").click()
        dialog = page.locator("dialog")
        dialog.get_by_role("heading", name="Findings").wait_for()
        assert "Broken: " in dialog.locator(".verdict").inner_text()
        assert dialog.locator(".profile tbody tr").count() >= 12
        dialog.get_by_role("button", name="Close").click()
        assert not dialog.is_visible()
        page.locator(".mark-alarm").click()
        assert reading_line(page).startswith("step 40 ")


def test_two_runs_side_by_side_on_the_same_axes(browser: Any, address: str) -> None:
    with opened(browser, address) as page:
        shown(page)
        page.locator("#recordings summary").click()
        page.locator("tr", has_text="second").get_by_role("button", name="Compare").click()
        page.wait_for_function("() => document.querySelectorAll('.heat canvas').length === 2")
        shown(page)
        ticks = page.locator(".ticks").evaluate_all("all => all.map(one => one.textContent)")
        assert ticks[0] == ticks[1] != ""
        one, other = (steady(page.locator(".field").nth(i)) for i in (0, 1))
        assert other["x"] > one["x"] + one["width"]
        assert other["y"] == one["y"]
        page.mouse.move(one["x"] + 12, one["y"] + 5)
        assert " | " in reading_line(page)
        page.mouse.move(one["x"] + one["width"] * 0.5, one["y"] + 5)
        assert reading_line(page).endswith(" | not read")  # the other one ended before
        assert page.locator(".swatch.dashed").count() > 0
        page.reload()
        page.wait_for_function("() => document.querySelectorAll('.heat canvas').length === 2")


def test_names_from_a_model_are_text(browser: Any, address: str) -> None:
    with opened(browser, f"{address}?rows=tensors") as page:
        shown(page)
        run_named(page, "hostile")
        # The alarms of the recording before may stand there still: the name says whose they are.
        page.locator("#happenings").get_by_text(HOSTILE).first.wait_for()
        assert page.locator(".names span").first.inner_text() == HOSTILE
        assert page.locator("#charts").inner_text().count(HOSTILE) >= 1
        assert page.title() != "taken"
        assert page.locator("main img, main script").count() == 0


def test_four_languages_by_switch_browser_and_program(
    browser: Any, address: str, folder: Path
) -> None:
    with opened(browser, address) as page:
        for language in LANGUAGES:
            shown(page)
            with page.expect_event("load"):
                page.locator("select.language").select_option(language)
            page.wait_for_function(
                "spoken => document.documentElement.lang === spoken", arg=language
            )
            page.locator("#tools button").first.wait_for()
            word = catalog_json(language).get("Zoom in") or "Zoom in"
            page.get_by_role("button", name=word, exact=True).wait_for()
            assert f"language={language}" in page.evaluate("location.search")
        shown(page)
    with opened(browser, address, locale="tr-TR") as page:
        page.wait_for_function("() => document.documentElement.lang === 'tr'")
    with served(folder, "--language", "uz") as spoken, opened(browser, spoken) as page:
        page.wait_for_function("() => document.documentElement.lang === 'uz'")
        shown(page)


@pytest.mark.parametrize(
    ("width", "language"), [(360, one) for one in LANGUAGES] + [(768, "en"), (1600, "en")]
)
def test_it_fits_every_width(browser: Any, address: str, width: int, language: str) -> None:
    options = {"viewport": {"width": width, "height": 800}, "locale": language}
    with opened(browser, address, **options) as page:
        shown(page)
        page.locator("#recordings summary").click()
        page.locator("#happenings .alarm").first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.locator(".field").bounding_box()["width"] > width * 0.5


def test_who_stands_on_a_button_stays_there_while_a_run_goes_on(
    browser: Any, tmp_path: Path
) -> None:
    with Writer(tmp_path / "live", entries(6), {}) as writer:
        writer.write(reading(0, 6))
        writer.event(alarm(0))
        writer.flush()
        with served(tmp_path) as address, opened(browser, address) as page:
            page.get_by_role("button", name="Show step 0").focus()
            writer.write(reading(1, 6))
            writer.event(alarm(1, "dead-units"))
            writer.flush()
            page.get_by_role("button", name="Show step 1").wait_for()
            assert page.evaluate("document.activeElement.textContent") == "Show step 0"


def test_a_live_run_is_followed_within_a_second_and_its_end_is_said(
    browser: Any, tmp_path: Path
) -> None:
    writer = Writer(tmp_path / "live", entries(6), {})
    writer.write(reading(0, 6))
    writer.flush()
    with served(tmp_path) as address, opened(browser, address) as page:
        page.get_by_text("1 step ·").wait_for()
        for step in range(1, 6):
            page.wait_for_timeout(700)
            writer.write(reading(step, 6))
            writer.flush()
            begun = time.monotonic()
            page.get_by_text(f"{step + 1} steps ·").wait_for()
            followed = time.monotonic() - begun
        page.wait_for_function("() => document.querySelector('.field canvas').width > 0")
        writer.event(alarm(5))
        page.get_by_text("the step is too large").first.wait_for()
        assert page.locator("#run .badge.live").count() == 1
        writer.close()
        page.locator("#run .badge.finished").wait_for()
        for file in (tmp_path / "live").iterdir():
            file.unlink()
        page.get_by_text("This recording was deleted or moved.").first.wait_for()
        assert page.locator(".field canvas").evaluate(NOT_BLANK) > 1
    assert followed < 5  # the bar is measured by benchmarks/dashboard.py; this machine may be busy


KILLED = """
import sys
sys.path.insert(0, sys.argv[2])
from dashboards import entries, reading
from unvanish.recording import Writer
writer = Writer(sys.argv[1], entries(6), {})
step = 0
while True:
    writer.write(reading(step, 6))
    writer.flush()
    print(step, flush=True)
    step += 1
    import time; time.sleep(0.05)
"""


def test_a_run_that_is_killed_keeps_what_it_had(browser: Any, tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as training:
        assert training.stdout is not None
        training.stdout.readline()
        with served(tmp_path) as address, opened(browser, address) as page:
            shown(page)
            training.send_signal(signal.SIGKILL)
            training.wait()
            last = int(([*training.stdout] or ["0"])[-1])
            page.get_by_text(f"{last + 1} steps ·").or_(
                page.get_by_text(f"{last + 2} steps ·")
            ).wait_for()
            page.locator("#run .badge.quiet").wait_for(timeout=30_000)
            assert "its program ended" in page.locator("#run").inner_text()
            assert page.locator(".field canvas").evaluate(NOT_BLANK) > 1


def test_when_the_server_stops_the_page_says_so_and_stays(browser: Any, tmp_path: Path) -> None:
    record(tmp_path, steps=20)
    context = browser.new_context(locale="en-US")
    page = context.new_page()
    with served(tmp_path) as address:
        page.goto(address)
        shown(page)
    page.get_by_text("The server does not answer any more").wait_for()
    assert page.locator(".field canvas").evaluate(NOT_BLANK) > 1
    context.close()


def test_a_wrong_address_is_a_page_that_says_so(browser: Any, address: str) -> None:
    for language, said in (("en-US", "use the one that was printed"), ("de-DE", "")):
        context = browser.new_context(locale=language)
        page = context.new_page()
        parts = urllib.parse.urlsplit(address)
        answer = page.goto(f"{parts.scheme}://{parts.netloc}/wrong/")
        assert answer.status == 403
        assert said in page.locator("main").inner_text()
        context.close()


def test_it_prints_on_light_ground_without_its_controls(
    browser: Any, address: str, tmp_path: Path
) -> None:
    with opened(browser, address, color_scheme="dark") as page:
        shown(page)
        page.emulate_media(media="print", color_scheme="light")
        assert not page.locator("#tools").is_visible()
        assert page.locator(".field canvas").is_visible()
        assert not page.locator("#reading").is_visible()
        for heading in page.locator("#happenings h3:visible").all():
            assert heading.evaluate("one => one.nextElementSibling.innerText.trim()")
        page.pdf(path=tmp_path / "page.pdf")
        assert (tmp_path / "page.pdf").stat().st_size > 20_000


def test_an_empty_folder_says_so_and_shows_what_appears(browser: Any, tmp_path: Path) -> None:
    with served(tmp_path) as address, opened(browser, address) as page:
        page.get_by_text("There is no recording here yet.").wait_for()
        record(tmp_path / "new", steps=9)
        page.get_by_text("9 steps ·").wait_for()
        shown(page)
