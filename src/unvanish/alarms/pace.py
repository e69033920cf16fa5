"""How far the steps move the weights, all matrices together; whether the loss still falls."""

import math

import numpy as np

from unvanish.alarms.columns import Columns
from unvanish.alarms.moment import Course
from unvanish.alarms.series import Doubles

WINDOW = 40
"""Steps that a training must have stood still for."""
ROUNDING = 1e-9
"""What a constant rate may differ by from step to step."""
SURE = 3.0
"""Standard deviations of Kendall's S: chance alone falls so clearly once in 740 windows."""


def updates(columns: Columns) -> Doubles:
    """The last update to weight of every matrix that was read and gets a gradient."""
    known = columns["update"][columns.matrix & columns.reached]
    return known[~np.isnan(known)]


def steady_rate(course: Course) -> bool:
    """Whether the learning rate did not rise in the window and is half of its highest or more.

    Small steps before and after that are the schedule's: warm-up (linear over 100,000 steps, it
    rises by a thousandth in forty), or the end of a decay. Without a rate to read nothing is known
    of either.
    """
    rates = course.learning_rate.last(WINDOW)
    if len(rates) < WINDOW:
        return False
    rising = rates[-1] > rates[0] * (1 + ROUNDING)
    return not rising and float(rates.min()) >= 0.5 * course.highest_rate


def falls(course: Course) -> bool | None:
    """Whether the loss of the window falls beyond chance; ``None``: not known."""
    losses = course.loss.last(WINDOW)
    return None if len(losses) < WINDOW else fall_beyond_chance(losses)


def fall_beyond_chance(losses: Doubles) -> bool:
    """Whether these numbers fall, by their order alone (Mann and Kendall).

    Reference: H. B. Mann, Nonparametric tests against trend, Econometrica 13 (1945).
    """
    order = np.sign(losses[None, :] - losses[:, None])
    kendall = float(np.triu(order, 1).sum())
    count = len(losses)
    deviation = math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    return kendall < -SURE * deviation
