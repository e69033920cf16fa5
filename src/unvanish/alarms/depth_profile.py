"""UV301 depth-decay, UV302 depth-growth: front and back of the net part, and so do their steps."""

import math

import numpy as np

from unvanish.alarms.detector import AWAY, UNSEEN, Absence, Detector, Run, Sign
from unvanish.alarms.moment import Moment
from unvanish.alarms.profile import Profile
from unvanish.alarms.series import middle
from unvanish.causes import depth_decay, depth_growth
from unvanish.causes.cause import BROKEN_DECADES, HARMFUL_DECADES, RESOLUTION

SUSTAINED = 10
"""Judged steps in a row: batches differ, a slope over depth does not come and go with them."""
SMALLEST = 1e-45
"""The smallest float32, for an update of exactly zero."""


class _Parting:
    """Gradients part by decades over the order of the layers, with a consequence.

    Three things at once, for ten steps: the product of gradient and weight of the first third of
    the matrices lies 3.6 decades and more from that of the last third; it compounds from layer to
    layer; and the real updates show it: those of the starved end are as far behind, relative to
    their weights, or below the resolution of float32 while the others are not. Without the last
    the optimizer makes up for it. Training that converges lowers all layers alike.
    """

    def __init__(self, sign: float) -> None:
        self._sign = sign
        self._run = Run()
        self._compounds = False

    def see(self, moment: Moment) -> Sign | Absence:
        profile = moment.profile
        if profile is None:
            return UNSEEN
        apart = profile.fall * self._sign
        if self._run.count(apart >= HARMFUL_DECADES, moment.step) < SUSTAINED:
            return AWAY if not self._run.length else UNSEEN
        if self._run.length % SUSTAINED == 0:
            self._compounds = profile.compounds()
        if not self._compounds:
            return AWAY
        behind = self._behind(moment, profile)
        if behind is None:
            return UNSEEN
        return self._signed(moment, profile, behind) if behind >= HARMFUL_DECADES else AWAY

    def _behind(self, moment: Moment, profile: Profile) -> float | None:
        """Decades that the starved end's update to weight is behind; ``None``: never read."""
        columns = moment.columns
        ends = profile.first_third(len(columns)), profile.last_third(len(columns))
        front, back = (columns["update"][end] for end in ends)
        front, back = front[~np.isnan(front)], back[~np.isnan(back)]
        if not len(front) or not len(back):
            return None
        starved, fed = (front, back) if self._sign > 0 else (back, front)
        # The last third itself may fall over ten decades: the best of it shows what a step can do.
        small, large = middle(starved), float(fed.max())
        if small < RESOLUTION <= large / 10:
            return max(math.log10(large / max(small, SMALLEST)), HARMFUL_DECADES)
        return math.log10(large / small) if small > 0 and large > 0 else 0.0

    def _signed(self, moment: Moment, profile: Profile, behind: float) -> Sign:
        size, columns = len(moment.columns), moment.columns
        starved = profile.first_third(size) if self._sign > 0 else profile.last_third(size)
        apart = profile.fall * self._sign
        layers = float(len(profile.places))
        word = "below" if self._sign > 0 else "above"
        return Sign(
            severity="broken" if apart >= BROKEN_DECADES else "harmful",
            where=columns.named(starved),
            onset=self._run.since,
            evidence={
                "decades": apart,
                "layers": layers,
                "decades_per_layer": apart / max(layers * 2 / 3, 1.0),
                "update_decades": behind,
                "front_log10": profile.front,
                "back_log10": profile.back,
            },
            detail=f"gradient times weight of the first layers is {apart:.1f} decades {word} that "
            f"of the last ones, and the updates are {behind:.1f} decades apart",
        )


class _Decay(_Parting):
    def __init__(self) -> None:
        super().__init__(1.0)


class _Growth(_Parting):
    def __init__(self) -> None:
        super().__init__(-1.0)


DECAY = Detector(
    card=depth_decay.CARD,
    watcher=_Decay,
    explains=(*depth_decay.CAUSE.explains, "dead-units"),
)
GROWTH = Detector(card=depth_growth.CARD, watcher=_Growth, explains=depth_growth.CAUSE.explains)
