"""axe-core on every page in every language, by day and by night: nothing serious in anybody's way."""

import os
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from browsers import AXE, SERIOUS, needs_chromium
from dashboards import answering, diagnosis_json, record, served
from reported import diagnosed, treated

from unvanish.languages import LANGUAGES, catalog_json
from unvanish.recording import Recording
from unvanish.recording.summarising import summarise
from unvanish.report.html import diagnosis_page, recording_page, treatment_page

pytestmark = [
    needs_chromium,
    pytest.mark.timeout(360),
]
UNFOLD = "document.querySelectorAll('details').forEach((one) => { one.open = true; })"
PATIENCE = 60_000
"""Milliseconds: the lab's first look takes a second of a free processor; this one may be shared."""
SMALL = "?data=circles&depth=4&width=8"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("runs")
    record(place / "hostile", steps=40, hostile=True)
    record(place / "first", steps=80, tensors=20, look=diagnosis_json())
    newest = time.time() + 5  # the one that the dashboard opens
    os.utime(place / "first" / "recording.sqlite", (newest, newest))
    return place


@pytest.fixture(scope="module")
def dashboard(runs: Path) -> Generator[str]:
    with served(runs) as address:
        yield address


@pytest.fixture(scope="module")
def lab() -> Generator[str]:
    with answering("lab") as address:
        yield address


def page_in(browser: Any, language: str, address: str) -> Any:
    """A page in a window of its own, whose language the browser prefers."""
    window = browser.new_context(
        locale=language, bypass_csp=True, viewport={"width": 1300, "height": 900}
    )
    page = window.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    return page


def barriers(page: Any) -> list[str]:
    """What axe-core finds by day and by night."""
    page.evaluate(AXE)
    found: list[str] = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        found += [f"{scheme}: {one}" for one in page.evaluate(SERIOUS)]
    assert page.evaluate("document.title")
    return found


def report(kind: str, language: str, runs: Path) -> str:
    if kind == "treatment":
        return treatment_page(treated(), language)
    if kind == "recording":
        with Recording.open(runs / "hostile") as recording:
            return recording_page(recording, summarise(recording), language)
    return diagnosis_page(diagnosed(kind), language)


@pytest.mark.parametrize(
    ("kind", "language"),
    [(kind, one) for kind in ("decaying", "treatment", "recording") for one in LANGUAGES]
    + [(kind, "en") for kind in ("residual", "recurrent", "hostile")],
)
def test_reports(browser: Any, runs: Path, tmp_path: Path, kind: str, language: str) -> None:
    file = tmp_path / "report.html"
    file.write_text(report(kind, language, runs), encoding="utf-8")
    page = page_in(browser, language, file.as_uri())
    page.evaluate(UNFOLD)
    assert barriers(page) == []
    page.context.close()


@pytest.mark.parametrize("language", LANGUAGES)
def test_dashboard(browser: Any, dashboard: str, language: str) -> None:
    page = page_in(browser, language, dashboard)
    page.locator(".chart:not(.hidden) canvas").first.wait_for()
    page.locator("#happenings h2, #happenings h3").first.wait_for()
    assert page.evaluate("document.documentElement.lang") == language
    page.locator("#recordings summary").click()
    assert barriers(page) == []
    said = catalog_json(language).get("Deep look at step {step}", "Deep look at step {step}")
    page.get_by_role("button", name=said.replace("{step}", "41")).click()
    page.locator("#look h2").wait_for()
    assert barriers(page) == []
    page.context.close()


@pytest.mark.parametrize("language", LANGUAGES)
def test_lab(browser: Any, lab: str, language: str) -> None:
    page = page_in(browser, language, f"{lab}{SMALL}")
    page.wait_for_selector("#verdict:not([aria-busy])")
    page.wait_for_function("document.querySelector('label[for=layer]')?.textContent")
    assert page.evaluate("document.documentElement.lang") == language
    page.evaluate(UNFOLD)
    assert barriers(page) == []
    page.context.close()
