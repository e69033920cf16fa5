"""The docs site: sphinx-build -W --keep-going -b html docs build/site."""

import re
from pathlib import Path
from typing import Any

import unvanish

HERE = Path(__file__).resolve().parent

project = "unvanish"
author = "the authors of unvanish"
copyright = "the authors of unvanish, Apache-2.0"
release = version = unvanish.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "unvanish"

myst_enable_extensions = ["colon_fence", "html_image"]
myst_heading_anchors = 3
nitpicky = False
"""Types of torch and numpy are named in signatures; their own sites are not fetched to link them."""

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_google_docstring = True

suppress_warnings = [
    "myst.header",  # the pages are read on their own too: a worksheet goes from title to text
]

GALLERIES = [
    p.relative_to(HERE).with_suffix("").as_posix()
    for p in sorted(HERE.rglob("README.md"))
    if p.relative_to(HERE).parts[0] in ("findings", "lessons")
]
"""Pages that list all pages of their folder."""
_OUTSIDE = re.compile(r"(!?\[[^\]]*\])\(((?:\.\./)+[^)#\s]+)\)")


def _read(app: Any, page: str, source: list[str]) -> None:
    """Files outside of docs are handed out as they are; pages that no list names are listed."""
    text = source[0]
    if page == "index":
        named = set(re.findall(r"^[\w/]+$", text, re.M))
        rest = sorted(p.stem for p in HERE.glob("*.md") if p.stem not in {*named, "index"})
        text = text.replace("(others)", "\n".join(rest))
    if page in GALLERIES:  # listed under their gallery, not beside it
        others = "\n*/README" if page == "lessons/README" else ""
        text += f"\n```{{toctree}}\n:hidden:\n:glob:\n\n*{others}\n```\n"
    if "/worksheets/" in page:
        text = "---\norphan: true\n---\n" + text
    home = (HERE / page).parent

    def handed(link: re.Match[str]) -> str:
        name, path = link.groups()
        target = (home / path).resolve()
        outside = target.is_file() and not target.is_relative_to(HERE) and not name.startswith("!")
        return f"{name}(path:{path})" if outside else link.group(0)

    source[0] = _OUTSIDE.sub(handed, text)


def _outdated(*_: Any) -> list[str]:
    """Pages whose lists depend on which files there are."""
    return ["index", *GALLERIES]


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("env-get-outdated", _outdated)
    app.connect("source-read", _read)
