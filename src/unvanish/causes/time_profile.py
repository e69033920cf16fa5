"""What UV401 and UV402 share: reading a gradient profile over time steps."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from unvanish.causes.cause import RESOLUTION
from unvanish.slopes import Slope, theil_sen
from unvanish.trace import Profile

FLOOR = 1e-44
"""Just above the smallest float32 denormal: below it a decaying norm shows as exact zero."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeCourse:
    """A profile read away from its largest step.

    ``slope`` is decades a step on the way from the largest step to the far end (negative:
    it falls), ``decades`` the whole of it, ``lost`` the number of steps at the far end that get
    less than float32's resolution of what the largest step gets.
    """

    module: str
    steps: int
    largest: float
    far: float
    decades: float
    slope: Slope
    lost: int
    from_last: bool


def course(profile: Profile) -> TimeCourse | None:
    """Read a profile; ``None`` where there are too few steps with gradient to speak of a trend.

    Steps of exact zero at either end are padding, unless the norms run down to the smallest
    float32 on the way to them: then they are the underflow of the same decay.
    """
    norms = list(profile.norms)
    if len(norms) < 3 or not all(math.isfinite(n) for n in norms) or max(norms) <= 0:
        return None
    peak = max(range(len(norms)), key=lambda t: norms[t])
    from_last = peak >= len(norms) / 2
    # Read so that time runs away from the loss: largest step first.
    away = norms[peak::-1] if from_last else norms[peak:]
    nonzero = [n for n in away if n > 0]
    faded = away[len(nonzero) :]
    if faded and nonzero[-1] > RESOLUTION * nonzero[0]:
        faded = []  # padding: it stops at once, it does not fade
    slope = theil_sen([math.log10(n) for n in nonzero])
    if slope is None or any(n == 0 for n in away[: len(nonzero)]):
        return None
    lost = sum(1 for n in nonzero if n < RESOLUTION * nonzero[0]) + len(faded)
    far = nonzero[-1] if not faded else 0.0
    return TimeCourse(
        module=profile.module,
        steps=len(nonzero) + len(faded),
        largest=nonzero[0],
        far=far,
        decades=math.log10(max(far, FLOOR)) - math.log10(nonzero[0]),
        slope=slope,
        lost=lost,
        from_last=from_last,
    )


def time_profiles(profiles: Sequence[Profile]) -> list[Profile]:
    """Profiles over time; a module's own input sequence is preferred to its calls."""
    timed = [p for p in profiles if p.axis == "time"]
    with_input = {p.module for p in timed if p.source == "input"}
    return [p for p in timed if p.source == "input" or p.module not in with_input]
