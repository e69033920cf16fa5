"""Paired statistics of a few seeds: an interval, an exact test that supposes less, a decision."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Word = Literal["helped", "no effect", "worse", "undecided"]
CONFIDENCE = 0.95
GUARD = 0.10
"""Level of the one-sided sign-flip test beside the interval: four seeds can reach it (1/16), and
with five one small contrary difference may stand among them (2/32), a large one may not."""
_EXACT = 16
"""Seeds up to which all sign patterns are counted; beyond, as many are drawn by lot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What paired differences say: a word, their mean, its interval, the p of the sign-flip test."""

    word: Word
    difference: float | None
    interval: tuple[float, float] | None
    p: float | None


def decide(
    differences: Sequence[float], margin: float, resolution: float = 0.0, looks: int = 1
) -> Decision:
    """A word for paired differences, one a seed, positive where the treated arm was better.

    - ``"no effect"``: the whole interval lies within ± ``margin``.
    - ``"helped"``: the interval lies above zero, the mean reaches the margin, and the sign-flip test
      agrees; or every one of five or more differences reaches the margin. ``"worse"``: the same
      below zero.
    - ``"undecided"``: anything else, and always with a single seed.

    The interval (Student's t on the differences, 95 %) supposes that they are nearly normal, which
    few seeds cannot show; the sign-flip test supposes only that without an effect each difference
    would as well have come with the other sign. Both must agree, so that neither one lucky seed nor
    a small spread by chance makes a verdict. The smallest of n differences is an exact lower bound
    of their median, at a confidence of 1 - 2^-n whatever the distribution: where a cure rescues some
    seeds from far lower than others, the spread of the gain is no doubt about it. If there is no
    effect, "helped" comes out of at most one comparison in ten whatever the distribution, and of one
    in twenty-five where it is normal.

    Args:
        differences: one a seed.
        margin: the smallest difference that matters, in the unit of the differences.
        resolution: the step in which the metric counts (one over the number of answers for an
            accuracy): equal differences by rounding are no proof that they have no spread.
        looks: how often it was asked, this time included, with more differences each time. Chance has
            as many opportunities, so that every look halves the errors that the next one allows:
            together they make no more than twice those of the first (Bonferroni). The interval that
            comes back stays that of 95 %.

    >>> decide([0.30, 0.32, 0.29, 0.31, 0.33], margin=0.02).word
    'helped'
    >>> decide([0.001, -0.002, 0.0, 0.001, 0.002], margin=0.02).word
    'no effect'
    >>> decide([0.30, 0.32], margin=0.02).word
    'undecided'
    """
    if len(differences) < 2:
        mean = differences[0] if differences else None
        return Decision(word="undecided", difference=mean, interval=None, p=None)
    mean = math.fsum(differences) / len(differences)
    low, high = paired_interval(differences, resolution)
    p = sign_flip_p(differences)
    allowed = 0.5 ** (looks - 1)
    confidence = 1 - (1 - CONFIDENCE) * allowed
    least, most = paired_interval(differences, resolution, confidence)
    word: Word = "undecided"
    if -margin <= least and most <= margin:
        word = "no effect"
    elif p <= GUARD * allowed and abs(mean) >= margin and (least > 0 or most < 0):
        word = "helped" if least > 0 else "worse"
    elif _all_reach(differences, margin, confidence):
        word = "helped" if mean > 0 else "worse"
    return Decision(word=word, difference=mean, interval=(low, high), p=p)


def _all_reach(differences: Sequence[float], margin: float, confidence: float) -> bool:
    """Whether the nearest to zero of the differences, all of one sign, bounds the median."""
    sure = 1 - 2.0 ** -len(differences) >= confidence
    same = min(differences) > 0 or max(differences) < 0
    return sure and same and min(abs(d) for d in differences) >= margin


def paired_interval(
    differences: Sequence[float], resolution: float = 0.0, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Student's interval for the mean of at least two paired differences.

    The variance is taken no smaller than what rounding both arms to ``resolution`` leaves,
    2 · resolution² / 12.
    """
    count = len(differences)
    mean = math.fsum(differences) / count
    variance = math.fsum((d - mean) ** 2 for d in differences) / (count - 1)
    error = math.sqrt(max(variance, resolution**2 / 6) / count)
    half = student_quantile(count - 1, confidence) * error
    return mean - half, mean + half


def sign_flip_p(differences: Sequence[float]) -> float:
    """How often the mean would be as far on its side if the sign of each difference were a coin's.

    One-sided and exact up to sixteen differences: five of one sign have 1/32.

    >>> sign_flip_p([1.0, 2.0, 1.5, 1.2, 0.9]) * 32
    1.0
    """
    values = np.asarray(differences, dtype=np.float64)
    count = len(values)
    if count <= _EXACT:
        patterns = (np.arange(2**count)[:, None] >> np.arange(count)) & 1
    else:
        patterns = np.random.default_rng(0).integers(0, 2, size=(2**_EXACT, count))
        patterns[0] = 1  # what was seen is one of the patterns
    sums = (2 * patterns - 1) @ values
    seen = abs(math.fsum(values))
    return float(np.mean(sums >= seen - 1e-12 * float(np.abs(values).sum())))


@functools.lru_cache
def student_quantile(freedom: int, confidence: float = CONFIDENCE) -> float:
    """The t such that Student's variable lies within ± t with this probability.

    By bisection of the closed form for whole degrees of freedom (Abramowitz and Stegun 1964,
    26.7.3 and 26.7.4).

    >>> round(student_quantile(4), 3), round(student_quantile(1), 3)
    (2.776, 12.706)
    """
    low, high = 0.0, math.pi / 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, freedom) < confidence else (low, middle)
    return math.sqrt(freedom) * math.tan((low + high) / 2)


def _within(angle: float, freedom: int) -> float:
    """P(|t| < root(freedom) · tan(angle))."""
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term = cosine if odd else 1.0
    total = term if freedom > 1 else 0.0
    for k in range(3 if odd else 2, freedom - 1, 2):
        term *= cosine**2 * (k - 1) / k
        total += term
    return 2 / math.pi * (angle + sine * total) if odd else sine * total
