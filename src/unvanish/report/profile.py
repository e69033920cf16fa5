"""Pictures of the gradient over depth and time, in characters that read at a glance."""

import math
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from unvanish.causes.cause import BROKEN_DECADES, HARMFUL_DECADES
from unvanish.causes.time_profile import FLOOR, time_profiles
from unvanish.languages import figure, filled, ngettext
from unvanish.languages import gettext as _
from unvanish.trace import Trace

FEWEST = 4
"""Fewer layers are no profile."""
ROWS = 32
BAR = 40
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def depth_picture(trace: Trace) -> RenderableType | None:
    """log10 of the gradient norm at each layer's output, loss side on top; thinned to a screen."""
    layers = [layer for layer in trace.layers if layer.norm is not None]
    if len(layers) < FEWEST:
        return None
    levels = [log10(layer.norm or 0.0) for layer in layers]
    kept = thinned(len(layers), ROWS)
    low, high = min(levels), max(levels)
    width = max(len(layers[i].name or _("(model)")) for i in kept)
    width = min(width, 32)
    title = _(
        "Gradient over depth (log10 of its norm at each layer's output; loss on top, input below)"
    )
    rows = [Text(title, style="bold")]
    for index in kept:
        name = shortened(layers[index].name or _("(model)"), width)
        gone = levels[index] <= math.log10(FLOOR)
        label = _("zero") if gone else figure(levels[index], "7.1f")
        row = Text(f"  {name:>{width}} {label:>7} ")
        rows.append(row.append(bar(levels[index], low, high), style=_style(levels[index] - high)))
    if len(kept) < len(layers):
        said = ngettext(
            "({shown} of {count} layers shown)", "({shown} of {count} layers shown)", len(layers)
        )
        rows.append(Text("  " + filled(said, shown=len(kept), count=len(layers)), style="dim"))
    return Group(*rows)


def time_pictures(trace: Trace) -> list[RenderableType]:
    """One line of blocks per recurrent module: the gradient over time steps, first step left."""
    pictures: list[RenderableType] = []
    for profile in time_profiles(trace.profiles)[:4]:
        levels = [log10(norm) for norm in profile.norms]
        if not all(map(math.isfinite, levels)) or max(levels) - min(levels) < 1:
            continue
        title = filled(
            _("Gradient over time in {module} (log10 |dL/dx_t|, first step left)"),
            module=profile.module or _("the model"),
        )
        ends = f"{figure(levels[0], '.1f')} ... {figure(levels[-1], '.1f')}"
        line = Text(f"  {columns(levels)}  {ends}")
        pictures.append(Group(Text(title, style="bold"), line))
    return pictures


def _style(below: float) -> str:
    """Green, yellow or red by how far a level lies below the highest."""
    if below <= -BROKEN_DECADES:
        return "red"
    return "yellow" if below <= -HARMFUL_DECADES else "green"


def log10(norm: float) -> float:
    """log10, with exact zero at the floor of float32."""
    return math.log10(max(norm, FLOOR))


def thinned(count: int, most: int) -> list[int]:
    """At most ``most`` indices, evenly spread, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return [round(position * (count - 1) / (most - 1)) for position in range(most)]


def bar(value: float, low: float, high: float, width: int = BAR) -> str:
    """A bar whose length is the place of ``value`` between ``low`` and ``high``."""
    span = max(high - low, 1.0)  # less than a decade of change should look like no change
    eighths = round((1 - (high - value) / span) * width * 8)
    full, part = divmod(max(eighths, 1), 8)
    return "█" * full + (_EIGHTHS[part] if part else "")


def columns(levels: Sequence[float], most: int = 60) -> str:
    """The levels as block characters of eight heights."""
    blocks = "▁▂▃▄▅▆▇█"
    kept = [levels[i] for i in thinned(len(levels), most)]
    low, high = min(kept), max(kept)
    span = max(high - low, 1.0)
    return "".join(blocks[min(7, int((value - low) / span * 8))] for value in kept)


def shortened(name: str, width: int) -> str:
    """The name, its beginning replaced by an ellipsis where it is too long."""
    return name if len(name) <= width else "…" + name[-(width - 1) :]
