"""UV202 dead-units: the gradient of a layer is exactly zero, and stays so while others learn."""

import math

import numpy as np

from unvanish.alarms.columns import Columns, Mask
from unvanish.alarms.detector import AWAY, UNSEEN, Absence, Detector, Sign
from unvanish.alarms.moment import WINDOW, Course, Moment
from unvanish.causes import dead_units

FEWEST = 10
"""Steps with a gradient of exactly zero in which weights moved. What starts at zero on purpose (a
branch, a head, LoRA's second factor) is awake after one such step for each zero on the way."""
RARELY = 1e-3
"""How often chance alone may give such a run, shared among the tensors; as in dead-units."""
UNDERFLOW = 1e-30
"""Float32 ends at 1e-45. A gradient that came down to this has vanished on its way, not died."""


class _Dead:
    """Layers that the gradient stops at. Exact zeros are common: three shapes of them are not.

    *Nothing comes in.* The weight's gradient is exactly zero while the bias of the same module
    has one: then the input of that module is exactly zero on every sample. It used to be other,
    or what feeds it gets nothing either: the units before it are dead.

    *Nothing passes back.* All tensors from the first on get exactly zero, later ones do not.

    *Nothing at all.* Every gradient is exactly zero, and the loss is neither zero nor, after a
    time in which it fell, at its lowest.

    A head whose loss was switched off, an expert that nobody asks, an embedding that no sample
    uses give zeros too; none of the three fits them.
    """

    def see(self, moment: Moment) -> Sign | Absence:
        columns = moment.columns
        if not _long(columns).any():
            return AWAY if not columns.zero.any() else UNSEEN
        dead = stopped(moment)
        if held_at_zero(columns, dead):
            return AWAY  # stuck-saddle: their own zeros hold them, no unit is dead
        if not dead.any():
            return UNSEEN if _all_zero(columns) and not _excused(moment) else AWAY
        if _all_zero(columns):
            if columns["alive"][dead].any() and at_its_lowest(moment.course):
                return UNSEEN  # died or met: a deep look tells (see suspicion.py)
            return _sign(moment, dead, "every gradient is exactly zero, and the loss is not")
        said = f"{int(dead.sum())} tensors get a gradient of exactly zero"
        # What ended in the middle of training may have been switched off on purpose.
        off = not _nothing_in(columns, _long(columns)).any() and bool(columns["alive"][dead].any())
        return _sign(moment, dead, said, "harmful" if off else "broken")


def stopped(moment: Moment) -> Mask:
    """Tensors of layers that the gradient stops at, by one of the three shapes."""
    columns = moment.columns
    long = _long(columns)
    if not long.any():
        return long
    if not _all_zero(columns):
        return _nothing_in(columns, long) | _nothing_back(columns, long)
    whole = not _excused(moment) and not (long != columns.reached).any()
    return long if whole else np.zeros_like(long)


def at_its_lowest(course: Course) -> bool:
    """Whether the loss is nowhere lower than now, and was higher.

    A loss whose margins are met, or that is held above a floor, stops there with every gradient
    at exactly zero; so may a net that dies while zero is its best answer so far.
    """
    losses = course.loss.last(WINDOW)
    return len(losses) > 0 and losses[-1] <= losses.min() < max(course.first_loss, losses.max())


def ended(columns: Columns) -> bool:
    """Whether every gradient is exactly zero, for long, where there was one."""
    long = _long(columns)
    return bool(long.any()) and _all_zero(columns) and bool(columns["alive"][long].any())


def held_at_zero(columns: Columns, stopped_at: Mask) -> bool:
    """Whether the matrices among these, two or more, are themselves exactly zero."""
    weights = columns["log_weight"][stopped_at & columns.matrix]
    return len(weights) > 1 and bool(np.isneginf(weights).all())


def _long(columns: Columns) -> Mask:
    return columns.zero & (columns["zero_run"] >= FEWEST)


def _all_zero(columns: Columns) -> bool:
    return not (columns.reached & ~columns.zero).any()


def _excused(moment: Moment) -> bool:
    """No loss, no gradient; and vectors alone are no net."""
    columns = moment.columns
    return moment.scalar("loss") == 0 or not columns.matrix[_long(columns)].any()


def _nothing_in(columns: Columns, long: Mask) -> Mask:
    """Weights whose input is exactly zero, and the tensors right before them that are zero too."""
    dead = np.zeros(len(columns), dtype=bool)
    places = np.flatnonzero(long & (columns.bias_of >= 0))
    for place in places:
        bias = columns.bias_of[place]
        if not columns.reached[bias] or columns.zero[bias]:
            continue
        start = _before(columns, long, int(place))
        if _improbable(columns, int(place)) or start < place:
            dead[start : place + 1] |= long[start : place + 1]
    return dead


def _before(columns: Columns, long: Mask, place: int) -> int:
    """The first of the zero tensors in a row that end at this place."""
    while place > 0 and long[place - 1] and not np.isnan(columns["gradient"][place - 1]):
        place -= 1
    return place


def _nothing_back(columns: Columns, long: Mask) -> Mask:
    """All tensors with a gradient up to some point, if more than one, or if it used to be other."""
    nothing = np.zeros(len(columns), dtype=bool)
    places = np.flatnonzero(columns.reached)
    ended = np.flatnonzero(~long[places])
    prefix = places[: int(ended[0])] if len(ended) else places
    if not len(prefix) or not columns.matrix[prefix].any():
        return nothing
    if columns["alive"][prefix].any():
        if not _improbable(columns, int(prefix[int(columns["alive"][prefix].argmax())])):
            return nothing
    elif len(prefix) < 2:
        return nothing
    near = columns["gradient"][places[len(prefix) : len(prefix) + 3]]
    if len(near) and float(near[near > 0].min(initial=math.inf)) < UNDERFLOW:
        return nothing
    nothing[prefix] = True
    return nothing


def _improbable(columns: Columns, place: int) -> bool:
    """Whether so many zeros in a row at the end are not chance.

    Of n steps k were alive and the last r are all zero. Were the steps alike in any order, this
    would have probability C(n - r, k) / C(n, k). It is asked at every step, so that the chance is
    shared among the steps too.
    """
    steps, alive = columns["judged"][place], columns["alive"][place]
    earlier = steps - columns["zero_run"][place]
    if not 0 < alive <= earlier:
        return False
    chance = math.lgamma(earlier + 1) - math.lgamma(earlier - alive + 1)
    chance -= math.lgamma(steps + 1) - math.lgamma(steps - alive + 1)
    return chance <= math.log(RARELY / len(columns) / steps)


def _sign(moment: Moment, dead: Mask, said: str, severity: str = "broken") -> Sign:
    columns = moment.columns
    run = float(columns["zero_run"][dead].max())
    alive = columns["alive"][dead].max() > 0
    onset = moment.step - int(run) + 1 if alive else 0
    return Sign(
        severity=severity,
        # The gradient comes from the end: it stops at the last of them.
        where=columns.named(dead, backwards=True),
        onset=max(onset, 0),
        evidence={
            "tensors": float(dead.sum()),
            "of": float(columns.reached.sum()),
            "steps": run,
        },
        detail=said + ("" if alive else ", from the first step on"),
    )


DETECTOR = Detector(
    card=dead_units.CARD,
    watcher=_Dead,
    explains=(*dead_units.CAUSE.explains, "step-too-small", "epsilon-dominated"),
)
