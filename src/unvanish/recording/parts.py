"""Statistics of the parts of a tensor, joined into those of the whole.

Sums, counts, extremes and histograms add up exactly; norms and means are made from what adds up.
"""

import numpy as np
from numpy.typing import NDArray

from unvanish.recording.queries import Steps

Column = NDArray[np.float64]

NEEDS = {
    "gradient_rms": ("gradient_l2",),
    "gradient_mean": ("gradient_mean", "gradient_nonfinite"),
    "update_to_weight": ("update_to_weight", "weight_rms"),
}
"""What of each part a statistic of the whole is made from, where that is not the statistic itself."""


def join(statistic: str, parts: dict[str, list[Column]], sizes: list[float]) -> Column:
    """The whole tensor's statistic from those of its parts, and their numbers of entries."""
    elements = sum(sizes)
    own = parts.get(statistic, [])
    if statistic in ("gradient_l2", "gradient_rms"):
        total = np.sqrt(sum(part**2 for part in parts["gradient_l2"]))
        return total if statistic == "gradient_l2" else total / np.sqrt(elements)
    if statistic == "gradient_abs_max":
        return np.max(own, axis=0)
    if statistic == "gradient_mean":
        finite = [n - bad for n, bad in zip(sizes, parts["gradient_nonfinite"], strict=True)]
        weighted = sum(mean * n for mean, n in zip(own, finite, strict=True))
        return weighted / np.maximum(np.sum(finite, axis=0), 1)
    if statistic == "weight_rms":
        squares = sum(part**2 * n for part, n in zip(own, sizes, strict=True))
        return np.sqrt(squares / elements)
    if statistic == "update_to_weight":
        norms = [w * np.sqrt(n) for w, n in zip(parts["weight_rms"], sizes, strict=True)]
        moved = sum((u * w) ** 2 for u, w in zip(own, norms, strict=True))
        return np.sqrt(moved / np.maximum(sum(w**2 for w in norms), np.finfo(np.float64).tiny))
    return np.sum(own, axis=0)  # zeros, non-finite entries, histograms


def common(every: list[Steps]) -> Steps:
    """The steps that all of them have."""
    steps = every[0]
    for other in every[1:]:
        steps = np.intersect1d(steps, other)
    return steps
