"""The docs site is built without a single warning, and every page is in it."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"
NEEDED = ("sphinx", "myst_parser", "furo")

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in NEEDED),
    reason="the docs are built with pip install -e '.[docs]'",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    options = ["-W", "--keep-going", "-q", "-b", "html", "-d", str(folder / "doctrees")]
    command = [sys.executable, "-m", "sphinx", *options, str(DOCS), str(folder / "html")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "html"


@pytest.mark.timeout(600)  # the first test builds the whole site
def test_every_page_is_built_and_can_be_reached(site: Path) -> None:
    sources = [p.relative_to(DOCS).with_suffix("") for p in DOCS.rglob("*.md")]
    missing = [str(name) for name in sources if not (site / name).with_suffix(".html").is_file()]
    assert len(sources) > 100
    assert not missing


def test_api_has_the_words_of_the_docstrings(site: Path) -> None:
    page = (site / "api.html").read_text("utf-8")
    for name in ("unvanish.diagnose", "unvanish.treat", "unvanish.watch", "unvanish.teach"):
        assert f'id="{name}"' in page
    assert "Say whether the gradient arrives" in page


def test_records_are_handed_out_and_pictures_are_there(site: Path) -> None:
    downloads = {p.name for p in (site / "_downloads").rglob("*.*")}
    assert {"diagnosis.md", "depth.md", "records.json", "depth-decay.ipynb"} <= downloads
    assert (site / "_images" / "depth-decay.svg").is_file()
