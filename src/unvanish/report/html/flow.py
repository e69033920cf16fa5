"""The flow of the gradient through a residual net: by skip and by branch, block by block."""

import statistics
from collections.abc import Sequence

from unvanish.languages import figure, filled, ngettext
from unvanish.languages import gettext as _
from unvanish.report.html.axis import bins
from unvanish.report.html.markup import Markup, tag
from unvanish.report.html.picture import figures_table, key, letters, percent, picture, short
from unvanish.trace import Layer

_ROWS = 24
_TABLED = 1000
_HEIGHT = 36.0
_TRUNK = 40.0  # per cent
_WIDEST = 18.0
_LOOP = 84.0
_ASIDE = _LOOP + 16


def flow_picture(layers: Sequence[Layer]) -> Markup | None:
    """The picture; ``None`` where no layer has a skip around it."""
    blocks = [layer for layer in layers if layer.skip_share is not None]
    if not blocks:
        return None
    rows = _rows(blocks, _ROWS)
    drawn: list[Markup] = [
        letters(_TRUNK, 13, _("loss"), "middle label"),
        letters(_TRUNK, 13, _("by the skip"), "middle label", _ASIDE + 12),
    ]
    for place, (name, skip) in enumerate(rows):
        drawn += _block(name, skip, 22 + place * _HEIGHT)
    bottom = 22 + len(rows) * _HEIGHT
    drawn.append(letters(_TRUNK, bottom + 15, _("input"), "middle label"))
    return picture(
        _("Gradient energy by skip and by branch"),
        _described(blocks),
        bottom + 22,
        *drawn,
        table=_table(blocks),
        caption=[
            key([("skip", _("by the skip")), ("branch", _("by the branch"))]),
            _explained(len(blocks), len(rows)),
        ],
    )


def _rows(blocks: Sequence[Layer], most: int) -> list[tuple[str, float]]:
    """Name and share by the skip, neighbours averaged where there are too many."""
    rows: list[tuple[str, float]] = []
    for group in bins(len(blocks), most):
        first, last = blocks[group[0]], blocks[group[-1]]
        name = first.name or _("(model)")
        mean = statistics.fmean(blocks[place].skip_share or 0.0 for place in group)
        rows.append((name if len(group) == 1 else f"{name} … {last.name}", mean))
    return rows


def _block(name: str, skip: float, y: float) -> list[Markup]:
    """A stretch of the trunk, as wide as the skip's share, and the branch as a loop beside it."""
    loop = f"M0 3 C 10 3 {_LOOP} 0 {_LOOP} {_HEIGHT / 2} S 10 {_HEIGHT - 3} 0 {_HEIGHT - 3}"
    widths = skip * _WIDEST, (1 - skip) * _WIDEST
    ways = tag(
        "svg",
        tag("path", d=loop, class_="way branch", stroke_width=short(max(widths[1], 0.4))),
        tag(
            "path",
            d=f"M0 0 V {_HEIGHT}",
            class_="way skip",
            stroke_width=short(max(widths[0], 0.4)),
        ),
        tag("title", f"{name}: {_said(skip)}"),
        x=percent(_TRUNK),
        y=short(y),
        overflow="visible",
    )
    return [
        letters(_TRUNK - 8, y + _HEIGHT / 2 + 4, name, "place"),
        ways,
        letters(_TRUNK, y + _HEIGHT / 2 + 4, figure(skip, ".0%"), "label", _ASIDE),
    ]


def _said(skip: float) -> str:
    return filled(_("{skip:.0%} by the skip"), skip=skip)


def _explained(blocks: int, rows: int) -> str:
    said = _(
        "The wider the way, the more of the gradient's energy takes it. Where all of it takes the "
        "skip, the branch does little; where none does, the skip is no way out."
    )
    if rows == blocks:
        return said
    many = ngettext(
        "{count} blocks are drawn in {rows} rows, neighbours averaged.",
        "{count} blocks are drawn in {rows} rows, neighbours averaged.",
        blocks,
    )
    return f"{said} {filled(many, count=blocks, rows=rows)}"


def _described(blocks: Sequence[Layer]) -> str:
    shares = [block.skip_share or 0.0 for block in blocks]
    said = ngettext(
        "Of {count} block with a skip, the skip takes between {least:.0%} and {most:.0%} of the "
        "gradient's energy, {mean:.0%} on average.",
        "Of {count} blocks with a skip, the skip takes between {least:.0%} and {most:.0%} of the "
        "gradient's energy, {mean:.0%} on average.",
        len(blocks),
    )
    values = {"least": min(shares), "most": max(shares), "mean": statistics.fmean(shares)}
    return filled(said, values | {"count": len(blocks)})


def _table(blocks: Sequence[Layer]) -> Markup:
    rows = [
        [name, figure(skip, ".1%"), figure(1 - skip, ".1%")]
        for name, skip in _rows(blocks, _TABLED)
    ]
    return figures_table([_("block"), _("by the skip"), _("by the branch")], rows)
