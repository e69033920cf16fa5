"""A picture with what makes it readable without eyes: title, description, the numbers as a table.

Pictures are SVG without a view box: places are per cent of the width, heights are pixels, so letters
keep their size from a telephone to a wall.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextvars import ContextVar

from unvanish.languages import gettext as _
from unvanish.report.html.markup import Markup, joined, tag

Row = Sequence[object]
_NUMBERS: ContextVar[Iterator[int] | None] = ContextVar("unvanish_picture_numbers", default=None)


def number_pictures() -> None:
    """Begin a page: its pictures are numbered from one."""
    _NUMBERS.set(itertools.count(1))


def picture(
    title: str,
    description: str,
    height: float,
    *drawn: object,
    table: Markup | None = None,
    caption: object = None,
) -> Markup:
    """A figure: the drawing, a caption, and its numbers folded away.

    Args:
        title: what it shows, in a few words.
        description: what there is to see, for those who do not see it.
        height: in pixels.
        drawn: the elements of the drawing.
        table: the numbers, as :func:`figures_table` makes them.
        caption: below the drawing; key and explanation.
    """
    numbers = _NUMBERS.get()
    name = f"picture-{next(numbers) if numbers is not None else 0}"
    drawing = tag(
        "svg",
        tag("title", title, id=f"{name}-title"),
        tag("desc", description, id=f"{name}-said"),
        *drawn,
        role="img",
        aria_labelledby=f"{name}-title",
        aria_describedby=f"{name}-said",
        class_="picture",
        width="100%",
        height=f"{height:.0f}",
    )
    return tag(
        "figure", drawing, tag("figcaption", caption) if caption else None, table, class_="figure"
    )


def figures_table(
    headings: Sequence[str],
    rows: Sequence[Row],
    said: str | None = None,
    title: str | None = None,
    class_: str = "numbers",
) -> Markup:
    """A folded table; the first column names the row. ``said`` stands above it.

    Paper has only what is of another class than ``numbers``.
    """
    head = tag("tr", *(tag("th", heading, scope="col") for heading in headings))
    body = joined(
        tag(
            "tr",
            tag("th", row[0], scope="row"),
            *(tag("td", "–" if cell is None else cell) for cell in row[1:]),
        )
        for row in rows
    )
    label = title or _("The numbers of this picture")
    return tag(
        "details",
        tag("summary", label),
        tag("p", said) if said else None,
        tag(
            "div",
            tag("table", tag("thead", head), tag("tbody", body), class_="figures"),
            class_="scrolled",
            tabindex="0",
            role="group",
            aria_label=label,
        ),
        class_=class_,
    )


def key(entries: Sequence[tuple[str, str]]) -> Markup:
    """The key of colours: (class, what it stands for)."""
    return tag(
        "ul",
        *(
            tag(
                "li",
                tag(
                    "svg",
                    tag("rect", width="14", height="12", y="1", class_=colour),
                    width="14",
                    height="14",
                    aria_hidden="true",
                ),
                " ",
                said,
            )
            for colour, said in entries
        ),
        class_="key",
    )


def box(
    x: float, y: float, width: float, height: float, class_: str, said: str | None = None
) -> Markup:
    """A rectangle; ``x`` and ``width`` in per cent, ``y`` and ``height`` in pixels."""
    return tag(
        "rect",
        *([tag("title", said)] if said else []),
        x=percent(x),
        y=short(y),
        width=percent(width),
        height=short(height),
        class_=class_,
    )


def upright(x: float, top: float, bottom: float, class_: str) -> Markup:
    """A vertical line at ``x`` per cent."""
    return tag("line", x1=percent(x), x2=percent(x), y1=short(top), y2=short(bottom), class_=class_)


def letters(x: float, y: float, said: str, class_: str, move: float = 0) -> Markup:
    """Text at ``x`` per cent, ``move`` pixels aside."""
    return tag(
        "text", said, x=percent(x), y=short(y), dx=short(move) if move else None, class_=class_
    )


def panel(x: float, y: float, width: float, height: float, *drawn: object) -> Markup:
    """A part of a picture with per cents of its own; what sticks out is cut off."""
    return tag(
        "svg",
        *drawn,
        x=percent(x),
        y=short(y),
        width=percent(width),
        height=short(height),
    )


def stretched(*drawn: object) -> Markup:
    """A panel's ground for curves: 100 by 100, stretched to the panel; lines keep their width."""
    return tag(
        "svg",
        *drawn,
        width="100%",
        height="100%",
        viewBox="0 0 100 100",
        preserveAspectRatio="none",
    )


def curve(points: Sequence[tuple[float, float]], class_: str) -> Markup:
    """A line through points in 0..100, y downwards."""
    path = " ".join(f"{short(x)},{short(y)}" for x, y in points)
    return tag("polyline", points=path, class_=class_, vector_effect="non-scaling-stroke")


def names_width(names: Iterable[str]) -> float:
    """Per cent of a picture's width that names need: enough on a telephone, not much on a wall."""
    return min(max(1.6 * max(map(len, names), default=0) + 3, 10.0), 30.0)


def short(value: float) -> str:
    """A coordinate with two decimals at most."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def percent(value: float) -> str:
    """A coordinate in per cent."""
    return short(value) + "%"
