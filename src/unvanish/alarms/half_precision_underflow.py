"""UV503 half-precision-underflow: magnitudes pile up at float16's last octaves and end there."""

import math

import numpy as np

from unvanish.alarms.columns import Mask
from unvanish.alarms.detector import AWAY, UNSEEN, Absence, Detector, Run, Sign
from unvanish.alarms.moment import Moment
from unvanish.causes import half_precision_underflow
from unvanish.recording.statistics import HISTOGRAM_BINS, LOWEST_EXPONENT

SMALLEST = -24
"""log2 of float16's smallest number; below 2^-14 it holds one bit less for each octave."""
COARSE = 3
"""Octaves of its end in which a number has three bits and less."""
READINGS = 3


class _Underflow:
    """The wall at 2^-24 over the loss scale: zeros on one side, the rest piled up on the other.

    Three things in three readings of the histogram in a row: no weight matrix of the net has one
    magnitude below the wall; more than half of a tensor's entries are zero; more than half of the
    others lie within three octaves of the wall. Magnitudes spread over many octaves whatever the
    net; only a number format cuts them off at a power of two. Zeros of dead or unused units have
    no wall beside them.
    """

    def __init__(self) -> None:
        self._run = Run()

    def see(self, moment: Moment) -> Sign | Absence:
        histogram = moment.reading.histogram
        if histogram is None:
            return UNSEEN
        scale = moment.scalar("loss_scale")
        wall = SMALLEST - (math.log2(scale) if scale > 0 else 0.0) - LOWEST_EXPONENT
        lowest = round(wall)
        if not 1 <= lowest <= HISTOGRAM_BINS - COARSE:
            return AWAY
        columns = moment.columns
        counts = np.zeros((len(columns), HISTOGRAM_BINS), dtype=np.uint32)
        counts[: len(histogram)] = histogram[: len(columns)]
        # All of the net ends at the wall, or it is none: 1 - tanh^2 has steps of 2^-24 in float32.
        if counts[columns.matrix, :lowest].any():
            self._run.count(False, moment.step)
            return AWAY
        there = counts.sum(axis=1, dtype=np.float64)
        piled = counts[:, lowest : lowest + COARSE].sum(axis=1, dtype=np.float64)
        lost = columns.matrix & columns.reached & (there > 0) & (2 * there < columns.elements)
        lost &= 2 * piled > there
        if self._run.count(bool(lost.any()), moment.step) < READINGS:
            return UNSEEN if self._run.length else AWAY
        return self._sign(moment, lost, there, scale)

    def _sign(self, moment: Moment, lost: Mask, there: np.ndarray, scale: float) -> Sign:
        columns = moment.columns
        zeros = 1 - there[lost].sum() / columns.elements[lost].sum()
        smallest = 2.0**SMALLEST / (scale if scale > 0 else 1.0)
        return Sign(
            severity="harmful",
            where=columns.named(lost),
            onset=self._run.since,
            evidence={
                "tensors": float(lost.sum()),
                "zeros_share": float(zeros),
                "smallest": smallest,
            },
            detail=f"{zeros:.0%} of the entries of {int(lost.sum())} tensors are zero and the others "
            f"end at {smallest:.2g}, where float16 does",
        )


DETECTOR = Detector(
    card=half_precision_underflow.CARD,
    watcher=_Underflow,
    explains=("dead-units", "depth-decay", "step-too-small", "epsilon-dominated"),
)
