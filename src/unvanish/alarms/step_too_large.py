"""UV701 step-too-large: steps replace the weights, and the loss rises or does not fall."""

import math

import numpy as np

from unvanish.alarms.changes import JUST_BEFORE, largest_factor
from unvanish.alarms.columns import LARGE, Mask
from unvanish.alarms.dead_units import stopped
from unvanish.alarms.detector import AWAY, UNSEEN, Absence, Detector, Sign
from unvanish.alarms.moment import WINDOW, Moment
from unvanish.alarms.pace import fall_beyond_chance
from unvanish.alarms.rising import LATEST, Rise
from unvanish.alarms.series import middle
from unvanish.alarms.tossed import Tossed
from unvanish.causes import step_too_large
from unvanish.causes.cause import HARMFUL_DECADES

SETTLED = 20
"""Steps after which a loss should be below the one it began with."""
FELL = 0.2
"""A fifth of the loss: less is no fall worth the weights."""
SLIGHT = 0.01
"""Of what the training has gained: a loss that gives back a hundredth of it has lost nothing."""
JUMP = 2
"""From one step to the next no schedule doubles a rate that the training has already settled at."""


class _TooLarge:
    """The mechanism and the consequence, both.

    The mechanism: an update to weight of 1/sqrt(20) or more replaces a weight matrix within twenty
    steps, in whatever directions; or the matrix has doubled. Between readings the update is
    reckoned from the last one and the learning rate. The consequence, one of six: the loss stands
    above what it was (see rising.py); it stands above the first one after twenty steps; it is
    no lower than that after twenty such steps; it is no number any more; it is tossed about by
    decades (see tossed.py), wherever it ends: a net that gives nothing may have no loss left; or
    layers that had a gradient are dead right after (see dead_units.py), and the loss never fell.
    """

    def __init__(self) -> None:
        self._tossed = Tossed()
        self._rise = Rise()
        self._blamed = False

    def see(self, moment: Moment) -> Sign | Absence:
        if moment.skipped:
            return UNSEEN
        if moment.poisoned:
            return self._overflowed(moment)
        course = moment.course
        if not course.loss.count:
            return UNSEEN
        self._look_for_a_rise(moment)
        if self._rise.met:
            rise = self._rise
            since = rise.since - JUST_BEFORE
            thrown = _thrown(moment, since) | _grown_in_vain(moment, rise)
            # Proven once it is proven for as long as the loss stands there: what proved it scrolls
            # out of the window, and dead weights take no large steps any more.
            far = self._blamed or thrown.any() or _expected(moment, since) >= LARGE
            far = far or _beyond(moment, rise)
            if far and not _slight(moment, rise) and not _comes_back(moment, rise):
                self._blamed = True
                said = f"the loss stands above {rise.reference:.4g} since step {rise.since}"
                return _sign(moment, thrown, rise.since, said)
        if course.steps >= SETTLED and _above_first(moment):
            thrown = _thrown(moment, 0.0)
            if thrown.any():
                said = "the loss stands above the one it began with"
                return _sign(moment, thrown, _left_first(moment), said)
        if self._tossed.see(course.loss, course.first_loss):
            since = moment.step - JUST_BEFORE
            thrown = _thrown(moment, since)
            if thrown.any() or _expected(moment, since) >= LARGE:
                said = "the loss is another one after every step"
                return _sign(moment, thrown, self._tossed.since, said, "broken")
        died = _died(moment)
        if died is not None and _did_not_fall(moment):
            thrown = _thrown(moment, 0.0)
            said = f"layers get no gradient any more since step {died}"
            return _sign(moment, thrown, died - 1, said, "broken")
        idle = _thrown_for_long(moment)
        if idle.any() and _did_not_fall(moment):
            said = "the loss is no lower than at the start"
            return _sign(moment, idle, int(np.nanmin(moment.columns["large_since"])), said)
        return AWAY

    def _look_for_a_rise(self, moment: Moment) -> None:
        """A rise that the steps had no part in is no consequence of a rate that jumps up after it."""
        rates = moment.course.learning_rate.last(2)
        jumped = len(rates) == 2 and rates[1] >= JUMP * rates[0] > 0
        if jumped and self._rise.met and not self._blamed:
            self._rise = Rise()
        self._rise.see(moment.course.loss)
        self._blamed = self._blamed and self._rise.met

    def _overflowed(self, moment: Moment) -> Sign | Absence:
        course, since = moment.course, moment.step - JUST_BEFORE
        grown = max(_decades_up(course.total.last(32)), _decades_up(_logs(course.loss.last(32))))
        thrown = _thrown(moment, since)
        raised = _expected(moment, since) >= LARGE and not _borne(moment, since)
        if not raised and grown < HARMFUL_DECADES and not (self._rise.met and thrown.any()):
            return UNSEEN
        change = largest_factor(course.learning_rate, moment.step)
        jumped = change is not None and change[0] >= JUMP
        onset = change[1] if jumped and change is not None else moment.step
        return _sign(moment, thrown, onset, "the numbers overflow", "broken")


def _thrown(moment: Moment, since: float) -> Mask:
    """Matrices with an update since that step that replaces them soon."""
    return moment.columns["large_step"] >= since


def _grown_in_vain(moment: Moment, rise: Rise) -> Mask:
    """Matrices that have doubled, where the loss does not come down from where it rose to.

    One that was drawn anew, for another task, has to grow: while it does the loss falls.
    """
    course, grown = moment.course, moment.columns.grown()
    if not grown.any():
        return grown
    since = course.loss.last(WINDOW)[course.loss.steps(WINDOW) >= rise.since]
    return grown & (not fall_beyond_chance(since))


def _expected(moment: Moment, since: float) -> float:
    """The largest update to weight since that step, read or reckoned from the last one read."""
    expected = moment.course.expected_update
    near = expected.last(WINDOW)[expected.steps(WINDOW) >= since]
    return float(np.fmax.reduce(near, initial=0.0))


def _borne(moment: Moment, since: float) -> bool:
    """Whether updates as large as the latest were taken before, and the loss went down over them.

    Weights that run away to overflow take the loss up with them, or take one step that is larger
    than all before. Where neither is so, what is not a number came from elsewhere: a batch.
    """
    course = moment.course
    losses = course.loss.last(WINDOW)[course.loss.steps(WINDOW) >= since]
    updates = course.expected_update.last(WINDOW)[course.expected_update.steps(WINDOW) >= since]
    half = len(losses) // 2
    if half < 2 or len(updates) < 2 * half:
        return False
    down = middle(losses[half:]) <= middle(losses[:half]) and losses[-1] < losses.max()
    earlier = float(np.fmax.reduce(updates[:-half], initial=0.0))
    return bool(down) and float(np.fmax.reduce(updates[-half:], initial=0.0)) <= earlier


def _died(moment: Moment) -> int | None:
    """The step since which layers that had a gradient get none, if weights were thrown just before.

    A gradient of exactly zero moves no weight: large updates near the onset are from before it, and
    a matrix that has doubled at the first reading after it doubled before.
    """
    columns = moment.columns
    dead = stopped(moment) & (columns["alive"] > 0)
    if not dead.any():
        return None
    since = moment.step - int(columns["zero_run"][dead].max()) + 1
    before = since - JUST_BEFORE
    doubled = (columns["doubled_step"] >= before) & (columns["doubled_from"] < since)
    thrown = _thrown(moment, before).any() or _expected(moment, before) >= LARGE or doubled.any()
    return since if thrown else None


def _thrown_for_long(moment: Moment) -> Mask:
    # Asked of every reading since: a matrix that starts at zero passes through large updates too.
    since = moment.columns["large_since"]
    return (moment.step - since >= SETTLED) & (moment.columns["update_step"] - since >= SETTLED / 2)


def _did_not_fall(moment: Moment) -> bool:
    first, latest = moment.course.first_loss, moment.course.loss.last(LATEST)
    return first - middle(latest) < FELL * abs(first)


def _above_first(moment: Moment) -> bool:
    """Whether, early in training, all of the last losses are a fifth above the first one.

    And do not come down from their highest: the first one may be of another question than those
    that follow, easy until a memory of past samples is filled. After a loss of ten times the first
    one, which no noise makes, it is enough that they are above it in the middle and do not come
    down any more: the net has lost what it began with.
    """
    course = moment.course
    first, latest = course.first_loss, course.loss.last(LATEST)
    if course.steps > 2 * SETTLED:
        return False
    if float(latest.min()) > first + FELL * abs(first):
        losses = course.loss.last(WINDOW)
        return not fall_beyond_chance(losses[int(np.argmax(losses)) :])
    thrown_up = float(course.loss.last(WINDOW).max()) >= 10 * first > 0
    half = len(latest) // 2
    falls = middle(latest[half:]) < (1 - FELL) * middle(latest[:half])
    return thrown_up and not falls and middle(latest) > first


def _comes_back(moment: Moment, rise: Rise) -> bool:
    """Whether the loss has come down from its highest since it rose, beyond what chance does."""
    losses = moment.course.loss.last(WINDOW)[moment.course.loss.steps(WINDOW) >= rise.since]
    return len(losses) > 0 and fall_beyond_chance(losses[int(np.argmax(losses)) :])


def _slight(moment: Moment, rise: Rise) -> bool:
    """Whether the rise takes back less than a hundredth of what was gained, and is not tenfold.

    A penalty of weights that are still swinging rises so, behind a loss that is met.
    """
    latest, reference = middle(moment.course.loss.last(LATEST)), rise.reference
    if reference is None:
        return False
    gained = moment.course.first_loss - reference
    return latest - reference < SLIGHT * gained and latest < 10 * reference


def _left_first(moment: Moment) -> int:
    """The step after which the loss has been above the first one: by a fifth, or once tenfold."""
    course = moment.course
    losses, first = course.loss.last(WINDOW), course.first_loss
    below = np.flatnonzero(losses <= first + FELL * abs(first))
    thrown = np.flatnonzero(losses >= 10 * first)
    stays = not len(below) or below[-1] < len(losses) - LATEST
    last = int(below[-1]) if stays and len(below) else int(thrown[0]) - 1 if len(thrown) else 0
    return int(course.loss.steps(WINDOW)[max(last, 0)])


def _beyond(moment: Moment, rise: Rise) -> bool:
    """Whether the loss is beyond what leaves a trace of the weights that the training began with.

    Only where updates were never read. A loss that someone multiplies does the same.
    """
    course = moment.course
    if not math.isnan(course.update_read):
        return False
    known = max(abs(course.first_loss), abs(rise.reference or 0.0))
    return float(course.loss.last(LATEST).min()) > 10**HARMFUL_DECADES * known


def _logs(values: np.ndarray) -> np.ndarray:
    return np.log10(np.maximum(np.abs(values), 1e-30))


def _decades_up(logs: np.ndarray) -> float:
    """How far the last value stands above the middle of those before it."""
    return float(logs[-1] - np.median(logs[:-1])) if len(logs) > 1 else 0.0


def _sign(moment: Moment, thrown: Mask, onset: int, said: str, severity: str = "") -> Sign:
    columns, course = moment.columns, moment.course
    update = columns["update_most"][thrown]
    latest = course.loss.last(LATEST)
    first = course.first_loss
    evidence = {
        "update_to_weight": float(update.max()) if len(update) else math.nan,
        "initial": first,
        "final": middle(latest) if len(latest) else math.nan,
        "learning_rate": moment.scalar("learning_rate"),
    }
    worse = len(latest) > 0 and middle(latest) > first
    return Sign(
        severity=severity or ("broken" if worse else "harmful"),
        where=columns.named(thrown) or ("(model)",),
        onset=onset,
        evidence={key: value for key, value in evidence.items() if not math.isnan(value)},
        detail=said,
    )


DETECTOR = Detector(
    card=step_too_large.CARD,
    watcher=_TooLarge,
    # Seen to happen, it also explains what weights that were thrown away do next.
    explains=(
        *step_too_large.CAUSE.explains,
        "nonfinite-forward",
        "nonfinite-backward",
        "loss-scale-collapse",
        "depth-decay",
        "depth-growth",
        "epsilon-dominated",
        "init-too-large",
        "init-too-small",
        "collapsed-signal",
        "chaotic-signal",
        "post-norm-depth",
        "unfit-loss",
    ),
    always=True,
)
