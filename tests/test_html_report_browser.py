"""The HTML reports in a real browser without a network: seen, read, worked by keyboard, printed."""

import contextlib
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from browsers import AXE, SERIOUS, needs_chromium
from dashboards import record
from reported import diagnosed, treated

from unvanish.languages import LANGUAGES
from unvanish.recording import Recording
from unvanish.recording.summarising import summarise
from unvanish.report.html import diagnosis_cell, diagnosis_page, recording_page, treatment_page

pytestmark = needs_chromium

NAMES = ("decaying", "residual", "recurrent", "hostile", "treatment", "recording")
SMALLEST_LETTERS = """() => Math.min(...[...document.querySelectorAll("svg text")]
  .map((one) => one.getBoundingClientRect().height).filter((height) => height > 0))"""

CLIPPED = """() => [...document.querySelectorAll("svg.picture")].flatMap((picture) => {
  const { left, right } = picture.getBoundingClientRect();
  return [...picture.querySelectorAll("text")]
    .filter((one) => {
      const box = one.getBoundingClientRect();
      return box.width && (box.left < left - 1 || box.right > right + 1);
    })
    .map((one) => one.textContent);
})"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every report as a file, in English under its name and in the others under name-language."""
    place = tmp_path_factory.mktemp("reports")
    record(place / "run", steps=80, tensors=20, hostile=True)
    for language in LANGUAGES:
        pages = {kind: diagnosis_page(diagnosed(kind), language) for kind in NAMES[:4]}
        pages["treatment"] = treatment_page(treated(), language)
        with Recording.open(place / "run") as recording:
            pages["recording"] = recording_page(recording, summarise(recording), language)
        for name, text in pages.items():
            (place / f"{name}-{language}.html").write_text(text, encoding="utf-8")
    return place


@contextlib.contextmanager
def opened(browser: Any, file: Path, **options: Any) -> Generator[Any]:
    """A page shown without a network; its console stays empty, and it asks nobody."""
    context = browser.new_context(
        **{"viewport": {"width": 1200, "height": 900}, "offline": True} | options
    )
    page = context.new_page()
    page.set_default_timeout(20_000)
    said: list[str] = []
    page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: said.append(f"error: {error}"))
    page.on("dialog", lambda dialog: said.append(f"dialog: {dialog.message}"))
    page.on(
        "request",
        lambda asked: None if asked.url.startswith(("file:", "data:")) else said.append(asked.url),
    )
    page.goto(file.as_uri())
    yield page
    context.close()
    assert said == []


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", NAMES)
def test_a_report_opens_alone_and_says_so_in_its_language(
    browser: Any, folder: Path, name: str, language: str
) -> None:
    with opened(browser, folder / f"{name}-{language}.html") as page:
        assert page.evaluate("document.documentElement.lang") == language
        assert page.locator("h1").is_visible()
        assert page.locator("svg.picture").first.is_visible()
        assert page.title() != "taken"
        assert page.evaluate("self.title") in (None, "")


@pytest.mark.parametrize("width", [360, 768, 1600])
@pytest.mark.parametrize("name", NAMES)
def test_no_width_needs_to_be_scrolled_sideways(
    browser: Any, folder: Path, name: str, width: int
) -> None:
    viewport = {"width": width, "height": 800}
    with opened(browser, folder / f"{name}-ru.html", viewport=viewport) as page:
        page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(SMALLEST_LETTERS) >= 10


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", ["decaying", "residual", "recurrent", "treatment"])
def test_no_word_of_a_picture_is_cut_off_on_a_telephone(
    browser: Any, folder: Path, name: str, language: str
) -> None:
    file = folder / f"{name}-{language}.html"
    with opened(browser, file, viewport={"width": 360, "height": 800}) as page:
        assert page.locator("svg.picture text").count() > 5
        assert page.evaluate(CLIPPED) == []


def test_everything_is_reached_by_keyboard_alone(browser: Any, folder: Path) -> None:
    with opened(browser, folder / "treatment-en.html") as page:
        wanted = page.locator("a, summary:visible, button:visible").count()
        reached: set[str] = set()
        for _ in range(wanted + 20):
            page.keyboard.press("Tab")
            reached.add(
                page.evaluate(
                    "[...document.querySelectorAll('*')].indexOf(document.activeElement) + '|' +"
                    "document.activeElement.tagName"
                )
            )
        kinds = [one.split("|")[1] for one in reached]
        assert sum(kind in ("A", "SUMMARY", "BUTTON") for kind in kinds) == wanted
        card = page.locator("#patch summary")
        card.focus()
        page.keyboard.press("Enter")
        assert page.locator("#script").is_visible()


def test_a_patch_is_copied_as_it_is(browser: Any, folder: Path) -> None:
    file = folder / "treatment-en.html"
    with opened(browser, file, permissions=["clipboard-read", "clipboard-write"]) as page:
        page.locator("#patch details summary").click()
        page.locator("button[data-copies=script]").click()
        page.locator("[role=status]", has_text="Copied").wait_for()
        assert page.evaluate("navigator.clipboard.readText()") == treated().patch.script


def test_without_a_script_all_but_the_copying_is_there(browser: Any, folder: Path) -> None:
    with opened(browser, folder / "treatment-en.html", java_script_enabled=False) as page:
        assert page.locator("h1").is_visible()
        assert page.locator("svg.picture").first.is_visible()
        assert not page.locator("button").first.is_visible()


def test_paper_is_white_and_gets_what_is_folded(browser: Any, folder: Path, tmp_path: Path) -> None:
    with opened(browser, folder / "decaying-en.html", color_scheme="dark") as page:
        page.emulate_media(media="print", color_scheme="dark")
        ground = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        assert ground == "rgb(255, 255, 255)"
        assert not page.locator("nav").is_visible()
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert page.locator(".card details p").first.is_visible()
        page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert not page.locator(".card details p").first.is_visible()
        page.pdf(path=str(tmp_path / "report.pdf"))
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("ground", ["#ffffff", "#111111"])
def test_a_cell_reads_on_a_notebook_of_any_colour(
    browser: Any, tmp_path: Path, ground: str
) -> None:
    ink = "#000000" if ground == "#ffffff" else "#e0e0e0"
    cell = diagnosis_cell(diagnosed("decaying"))
    file = tmp_path / "cell.html"
    head = "<!DOCTYPE html><html lang=en><title>cell</title><main><h1>notebook</h1>"
    file.write_text(
        f"{head}<style>body{{background:{ground};color:{ink}}}</style>{cell}</main>",
        encoding="utf-8",
    )
    with opened(browser, file) as page:
        page.evaluate(AXE)
        assert page.evaluate(SERIOUS) == []
        assert page.locator("svg rect").first.is_visible()
