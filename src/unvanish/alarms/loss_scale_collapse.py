"""UV504 loss-scale-collapse: steps are skipped at scales at which nothing is scaled any more."""

from unvanish.alarms.detector import AWAY, UNSEEN, Absence, Detector, Sign
from unvanish.alarms.moment import Moment
from unvanish.causes import loss_scale_collapse

PROVEN = 3
"""Skips at a scale of one or less, each at a new lowest scale."""


class _Collapse:
    """Skips that no scale can be blamed for.

    A scaler halves its scale after an overflow. If a step is skipped at a scale of one, the
    gradient is not finite without any scale; one such step may be a bad batch, but three, each at
    a scale below the one before, mean that the scale falls without end. A scaler that probes
    upward and comes back stays above, or returns to the same scale.
    """

    def __init__(self) -> None:
        self._lowest: list[float] = []
        self._highest_before = 0.0
        self._first_skip = -1
        self._skips = 0
        self._taken_in_a_row = 0

    def see(self, moment: Moment) -> Sign | Absence:
        scale = moment.scalar("loss_scale")
        if not moment.skipped or not scale > 0:
            self._taken_in_a_row += 1
            if self._taken_in_a_row > 50:
                self._lowest, self._skips = [], 0
            return UNSEEN if self._skips and self._taken_in_a_row < 10 else AWAY
        if not self._skips:
            self._first_skip, self._highest_before = moment.step, scale
        self._taken_in_a_row = 0
        self._skips += 1
        if scale <= 1 and (not self._lowest or scale < self._lowest[-1]):
            self._lowest.append(scale)
        if len(self._lowest) < PROVEN:
            return UNSEEN
        bad = moment.columns.nonfinite
        return Sign(
            severity="broken",
            where=moment.columns.named(bad, backwards=True) or ("training step",),
            onset=self._first_skip,
            evidence={
                "scale": scale,
                "scale_before": self._highest_before,
                "skips": float(self._skips),
            },
            detail=f"{self._skips} steps were skipped since step {self._first_skip}, and the scale "
            f"fell from {self._highest_before:.6g} to {scale:.3g}",
        )


DETECTOR = Detector(
    card=loss_scale_collapse.CARD,
    watcher=_Collapse,
    explains=loss_scale_collapse.CAUSE.explains,
    always=True,
)
