"""The gradient over time steps of a recurrent module, and where along them it is lost."""

import math
from collections.abc import Sequence

from unvanish.causes.cause import BROKEN_DECADES, HARMFUL_DECADES
from unvanish.causes.time_profile import FLOOR, time_profiles
from unvanish.languages import figure, filled, ngettext
from unvanish.languages import gettext as _
from unvanish.report.html.axis import Axis, axis_of, bins
from unvanish.report.html.chart import Line, chart
from unvanish.report.html.markup import Markup, tag
from unvanish.report.html.picture import figures_table, key, picture
from unvanish.trace import Profile

MOST = 6
_TABLED = 400


def time_pictures(profiles: Sequence[Profile]) -> list[Markup]:
    """One picture for each recurrent module, the first few of them."""
    timed = [profile for profile in time_profiles(profiles) if len(profile.norms) > 1]
    return [_picture(profile) for profile in timed[:MOST]]


def _picture(profile: Profile) -> Markup:
    name = profile.module or _("the model")
    levels = [math.log10(norm) if FLOOR < norm < math.inf else math.nan for norm in profile.norms]
    up = axis_of(levels)
    high = max((level for level in levels if math.isfinite(level)), default=0.0)
    zones = (
        (high - BROKEN_DECADES, high - HARMFUL_DECADES, "zone-low"),
        (up.low, high - BROKEN_DECADES, "zone-lost"),
    )
    line = Line(class_="weight", x=range(len(levels)), y=levels)
    across = Axis(0, max(len(levels) - 1, 1))
    shown = [entry for entry in zones if entry[1] > up.low]
    names = {"zone-low": _("its square is lost beside the largest in float32")}
    names["zone-lost"] = _("it is itself lost beside the largest in float32")
    return tag(
        "div",
        tag("h3", tag("span", name, class_="name")),
        picture(
            filled(_("Gradient over time in {module}"), module=name),
            _described(profile),
            220,
            *chart([line], 220, across=across, up=up, zones=shown, power=True),
            table=_table(profile),
            caption=[
                key([(zone, names[zone]) for _low, _high, zone in shown]) if shown else None,
                _("Across: time steps, the first on the left. Up: norm of dL/dx at that step."),
                " ",
                _described(profile),
            ],
        ),
    )


def _described(profile: Profile) -> str:
    norms = profile.norms
    said = _("At the first step the norm is {first:.2g}, at the last {last:.2g}.")
    told = filled(said, first=norms[0], last=norms[-1])
    zeros = sum(norm <= FLOOR for norm in norms)
    if not zeros:
        return told
    none = ngettext(
        "At {count} step it is exactly zero.", "At {count} steps it is exactly zero.", zeros
    )
    return f"{told} {filled(none, count=zeros)}"


def _table(profile: Profile) -> Markup:
    rows = [
        [figure(group[0], ","), figure(profile.norms[group[0]], ".3g")]
        for group in bins(len(profile.norms), _TABLED)
    ]
    return figures_table([_("step"), _("norm of the gradient")], rows)
