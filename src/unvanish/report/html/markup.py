"""Markup that cannot be forgotten to escape: plain text is escaped, only markup made here is not."""

import html
from collections.abc import Iterable

_VOID = frozenset(("meta", "br", "img", "rect", "line", "circle", "path", "polyline", "col"))


class Markup(str):
    """HTML or SVG that was made by :func:`tag`; every other string is text and gets escaped."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return str(self)


def tag(name: str, /, *children: object, **attributes: object) -> Markup:
    """An element.

    ``class_`` is ``class``, other underscores are hyphens; ``True`` is an attribute without a value,
    ``None`` and ``False`` leave it out.

    >>> str(tag("p", "1 < 2", class_="a", hidden=True))
    '<p class="a" hidden>1 &lt; 2</p>'
    """
    said = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID and not children:
        return Markup(
            f"<{name}{said}>" if name in ("meta", "br", "img", "col") else f"<{name}{said}/>"
        )
    return Markup(f"<{name}{said}>{joined(children)}</{name}>")


def joined(children: Iterable[object]) -> Markup:
    """Children one after another, text escaped, ``None`` left out."""
    return Markup("".join(_child(child) for child in children))


def _child(child: object) -> str:
    if child is None:
        return ""
    if isinstance(child, Markup):
        return child
    if isinstance(child, str):
        return html.escape(_visible(child))
    if isinstance(child, Iterable):
        return joined(child)
    return html.escape(str(child))


def _attribute(key: str, value: object) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    if value is True:
        return f" {name}"
    return f' {name}="{html.escape(_visible(str(value)))}"'


def _visible(text: str) -> str:
    """Without control characters, which are an error in HTML, and lone surrogates, in UTF-8."""
    if text.isprintable():
        return text
    kept = "".join(c if c in "\n\t" or (ord(c) >= 32 and ord(c) != 127) else "\ufffd" for c in text)
    return kept.encode("utf-8", "replace").decode("utf-8")
