"""The frame of a page: its policy, style and script inside, sections with headings in order.

The policy allows what stands in the file and nothing else: the style and the script by their hashes,
pictures as data, no address at all. A name of the user's model that got past the escaping would still
not run.
"""

import base64
import functools
import hashlib
from collections.abc import Sequence
from importlib import resources

from unvanish.languages import gettext as _
from unvanish.languages import spoken
from unvanish.report.html.markup import Markup, tag


def document(
    title: str, heading: str, verdict: tuple[str, str], *sections: Markup | None, foot: str
) -> str:
    """A whole page.

    Args:
        title: of the browser's tab.
        heading: the page's first heading.
        verdict: how bad (a class of the style), and in one sentence.
        sections: as :func:`section` makes them; ``None`` is left out.
        foot: what made it, on what.
    """
    there = [one for one in sections if one is not None]
    severity, said = verdict
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy()),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", title),
        tag("style", Markup(_file("page.css"))),
    )
    body = tag(
        "body",
        tag("header", tag("h1", heading), tag("p", said, class_=f"verdict {severity}")),
        _contents(there),
        tag("main", *there),
        tag("footer", foot),
        tag("script", Markup(_file("page.js"))),
    )
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang=spoken())}\n"


class Section(Markup):
    """A section with its heading and its anchor, for the list of contents."""

    __slots__ = ("anchor", "heading")
    anchor: str
    heading: str


def section(anchor: str, heading: str, *children: object) -> Section:
    """A part of the page under a heading of the second level."""
    inside = tag("h2", heading, id=f"{anchor}-heading")
    made = Section(
        tag("section", inside, *children, id=anchor, aria_labelledby=f"{anchor}-heading")
    )
    made.anchor, made.heading = anchor, heading
    return made


def listed(anchor: str, heading: str, lines: Sequence[object]) -> Section | None:
    """A section that is a list; ``None`` where it would be empty."""
    if not lines:
        return None
    return section(anchor, heading, tag("ul", *(tag("li", line) for line in lines)))


def _contents(sections: Sequence[Markup]) -> Markup | None:
    named = [one for one in sections if isinstance(one, Section)]
    if len(named) < 3:
        return None
    links = (tag("li", tag("a", one.heading, href=f"#{one.anchor}")) for one in named)
    return tag("nav", tag("ul", *links, class_="contents"), aria_label=_("Contents"))


@functools.cache
def policy() -> str:
    """The content-security policy of every page."""
    return "; ".join(
        (
            "default-src 'none'",
            f"style-src '{_hash(_file('page.css'))}'",
            f"script-src '{_hash(_file('page.js'))}'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


@functools.cache
def _file(name: str) -> str:
    place = resources.files("unvanish.report.html") / name
    return "\n" + place.read_text(encoding="utf-8").replace("\r\n", "\n")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
