"""What changed just before: the learning rate, the loss, the loss scale, one tensor's gradient."""

import math

import numpy as np

from unvanish.alarms.columns import Columns
from unvanish.alarms.moment import Course
from unvanish.alarms.series import Series, middle

JUST_BEFORE = 20
"""Steps before the onset in which a change is worth telling."""
NORMAL = 1.4826
"""Standard deviation of a normal distribution over the median of absolute deviations."""
OUTLIER = 5.0
"""Deviations at which a loss is told as a spike; words only, no alarm depends on it."""


def changes_before(onset: int, course: Course, columns: Columns) -> tuple[dict[str, float], str]:
    """Numbers and one sentence on what changed in the steps up to an onset; empty if nothing did."""
    said: list[str] = []
    evidence: dict[str, float] = {}
    for told in (_rate, _scale, _loss):
        numbers, sentence = told(onset, course)
        evidence |= numbers
        said += [sentence] if sentence else []
    numbers, sentence = _gradient(onset, course, columns)
    evidence |= numbers
    said += [sentence] if sentence else []
    return evidence, f"Just before, {'; '.join(said)}." if said else ""


def largest_factor(series: Series, onset: int) -> tuple[float, int] | None:
    """The change by the largest factor from one step to the next up to an onset, and its step."""
    values, steps = series.last(10**6), series.steps(10**6)
    near = (steps[1:] >= onset - JUST_BEFORE) & (steps[1:] <= onset + 1) & (values[:-1] > 0)
    near &= values[1:] > 0
    if not near.any():
        return None
    logs = np.log(values[1:][near] / values[:-1][near])
    place = int(np.abs(logs).argmax())
    return math.exp(logs[place]), int(steps[1:][near][place])


def _rate(onset: int, course: Course) -> tuple[dict[str, float], str]:
    change = largest_factor(course.learning_rate, onset)
    if change is None or 0.5 < change[0] < 2:
        return {}, ""
    factor, step = change
    return (
        {"learning_rate_factor": factor, "learning_rate_step": float(step)},
        f"at step {step}, the learning rate was multiplied by {factor:.3g}",
    )


def _scale(onset: int, course: Course) -> tuple[dict[str, float], str]:
    change = largest_factor(course.loss_scale, onset)
    if change is None or 0.75 < change[0] < 1.5:
        return {}, ""
    factor, step = change
    return (
        {"loss_scale_factor": factor, "loss_scale_step": float(step)},
        f"at step {step}, the loss scale was multiplied by {factor:.3g}",
    )


def _loss(onset: int, course: Course) -> tuple[dict[str, float], str]:
    values, steps = course.loss.last(10**6), course.loss.steps(10**6)
    old = values[steps < onset - 1]
    near = (steps >= onset - 1) & (steps <= onset + 1)
    if len(old) < 10 or not near.any():
        return {}, ""
    usual = middle(old)
    spread = NORMAL * middle(np.abs(old - usual))
    deviations = (values[near].max() - usual) / spread if spread > 0 else 0.0
    if deviations < OUTLIER:
        return {}, ""
    step = int(steps[near][int(values[near].argmax())])
    return (
        {"loss_deviations": float(deviations), "loss_spike_step": float(step)},
        f"at step {step}, the loss was {deviations:.0f} of its own deviations above its middle",
    )


def _gradient(onset: int, course: Course, columns: Columns) -> tuple[dict[str, float], str]:
    values, steps = course.jump.last(10**6), course.jump.steps(10**6)
    near = (steps >= onset - JUST_BEFORE) & (steps <= onset + 1)
    if not near.any() or values[near].max() < 1:
        return {}, ""
    place = int(values[near].argmax())
    factor, step = 10 ** float(values[near][place]), int(steps[near][place])
    name = columns.names[int(course.jumped.last(10**6)[near][place])]
    return (
        {"gradient_factor": factor, "gradient_step": float(step)},
        f"at step {step}, the gradient of {name} was {factor:.3g} times its usual size",
    )
