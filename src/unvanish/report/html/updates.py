"""How far one real step moves each tensor: a dot a tensor, on a line of powers of ten."""

import math
from collections.abc import Sequence

from unvanish.experiments.updates import Update
from unvanish.languages import figure
from unvanish.languages import gettext as _
from unvanish.report.html.axis import axis_of, bins
from unvanish.report.html.chart import power_of_ten
from unvanish.report.html.markup import Markup
from unvanish.report.html.picture import (
    box,
    figures_table,
    letters,
    names_width,
    panel,
    picture,
    upright,
)

_MOST, _ROWS = 40, 30
_HEIGHT = 18.0
_TABLED = 1000
_USUAL = -3.0
"""The guide of practice: a step changes a tensor by a thousandth (Karpathy 2015, CS231n)."""


def updates_picture(updates: Sequence[Update]) -> Markup | None:
    """The picture; ``None`` where nothing moved."""
    known = [u for u in updates if u.update_to_weight and math.isfinite(u.update_to_weight)]
    if not known:
        return None
    rows = [
        [known[place] for place in group]
        for group in bins(len(known), len(known) if len(known) <= _MOST else _ROWS)
    ]
    sizes = [math.log10(u.update_to_weight or 1.0) for u in known]
    left_side = names_width(_label(group) for group in rows)
    axis = axis_of([*sizes, _USUAL], least=2.0)
    top, height = 24.0, 24.0 + len(rows) * _HEIGHT + 4
    inside = [upright(axis.place(tick), top, height, "grid") for tick in axis.powers(6)]
    inside += [letters(axis.place(tick), 14, power_of_ten(tick), "tick") for tick in axis.powers(6)]
    inside.append(upright(axis.place(_USUAL), top, height, "link"))
    names: list[Markup] = []
    for place, group in enumerate(rows):
        y = top + place * _HEIGHT
        ends = [axis.place(math.log10(u.update_to_weight or 1.0)) for u in group]
        said = f"{_label(group)}: {figure(group[0].update_to_weight, '.2g')}"
        left, right = min(ends), max(ends)
        inside.append(box(left - 0.5, y + 4, right - left + 1.0, _HEIGHT - 8, "weight", said))
        names.append(letters(100, y + 13, _label(group), "place"))
    return picture(
        _("Update to weight"),
        _(
            "For each tensor, by what share of its own size one real step of the optimizer changes it."
        ),
        height,
        panel(left_side, 0, 100 - left_side, height, *inside),
        panel(0, 0, left_side - 1, height, *names),
        table=_table(known),
        caption=_(
            "By what share of its size one real step changes each tensor; the dashed line is the "
            "thousandth that practice aims at."
        ),
    )


def _label(group: Sequence[Update]) -> str:
    return group[0].name if len(group) == 1 else f"{group[0].name} …"


def _table(known: Sequence[Update]) -> Markup:
    rows = [
        [update.name, *(None if v is None else figure(v, ".3g") for v in _values(update))]
        for update in (known[group[0]] for group in bins(len(known), _TABLED))
    ]
    heads = [_("tensor"), _("update / weight"), _("without decay"), _("without momentum")]
    return figures_table(heads, rows)


def _values(update: Update) -> tuple[float | None, float | None, float | None]:
    return update.update_to_weight, update.without_decay, update.without_momentum
