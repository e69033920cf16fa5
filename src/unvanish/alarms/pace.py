"""How far the steps move the weights, all matrices together; whether the loss still falls."""

import math

import numpy as np

from unvanish.alarms.columns import Columns
from unvanish.alarms.moment import Course
from unvanish.alarms.series import Doubles

WINDOW = 40
"""Steps that a training must have stood still for."""
SURE = 3.0
"""Standard deviations of Kendall's S: chance alone falls so clearly once in 740 windows."""


def updates(columns: Columns) -> Doubles:
    """The last update to weight of every matrix that was read and gets a gradient."""
    known = columns["update"][columns.matrix & columns.reached]
    return known[~np.isnan(known)]


def steady_rate(course: Course) -> bool:
    """Whether the learning rate is as high as it ever was and was not raised in the window.

    Small steps before and after that are the schedule's: warm-up, or the end of a decay. Without
    a rate to read nothing is known of either.
    """
    rates = course.learning_rate.last(WINDOW)
    if len(rates) < WINDOW:
        return False
    return float(rates.min()) >= 0.5 * course.highest_rate


def falls(course: Course) -> bool | None:
    """Whether the loss of the window falls beyond chance (Mann and Kendall); ``None``: not known.

    Reference: H. B. Mann, Nonparametric tests against trend, Econometrica 13 (1945).
    """
    losses = course.loss.last(WINDOW)
    if len(losses) < WINDOW:
        return None
    order = np.sign(losses[None, :] - losses[:, None])
    kendall = float(np.triu(order, 1).sum())
    count = len(losses)
    deviation = math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    return kendall < -SURE * deviation
