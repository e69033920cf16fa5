"""The contest: who is behind only by a slow start is asked where the same edits win at another step size."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from treated import patient_of

from unvanish.surgery.edits import Edit
from unvanish.treatment.clock import Clock
from unvanish.treatment.contender import Contender, operate
from unvanish.treatment.contest import Contest

STEPS = 160
START = {0.5: 0.5, 0.6: 0.3, 0.7: 0.2}
"""Loss of each plan, by the factor on its values, at its own step size."""


def place(contender: Contender) -> tuple[float, float]:
    """The factor on the values, and that on the step size."""
    own: dict[str, Any] = {}
    for edit in contender.edits:
        own |= dict(edit.options)
    return own.get("factor", 1.0), own.get("lr_factor", 1.0)


class Known:
    """A training whose losses are known: the slowest of the plans wins at three times its step size."""

    diverged = False

    def __init__(self, contender: Contender) -> None:
        factor, rate = place(contender)
        loss = START.get(factor, 1.0)
        if rate != 1:
            loss = 0.1 if (factor, rate) == (0.5, 3.0) else loss * (2 + rate / 100)
        self._loss, self.losses = loss, list[float]()

    def advance(self, steps: int) -> None:
        self.losses += [self._loss] * steps

    def score(self) -> float:
        return 1 - self._loss


def test_the_edits_of_a_winner_are_asked_at_their_own_step_size_too() -> None:
    model = nn.Linear(4, 2)
    data = torch.randn(32, 4), torch.arange(32) % 2
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    given = {"model": model, "data": data, "loss": F.cross_entropy, "optimizer": optimizer}
    patient = patient_of(given)
    plans = [(Edit(action="scale", where=("",), options={"factor": f}),) for f in START]
    field = [operate(patient, ("one",), "values", plan) for plan in plans]
    begin: Any = Known
    contest = Contest(patient, begin, STEPS, Clock(None, None))
    ended = contest.hold(operate(patient, (), "wiring", ()), field)
    places = [place(contender) for contender in ended]
    assert min(ended, key=lambda c: c.loss_at(STEPS)) is ended[places.index((0.5, 3.0))]
    assert places.count((0.5, 1.0)) == 1
    slow = ended[places.index((0.5, 1.0))]
    assert (slow.out, slow.score) == (None, 0.5)
    behind = {place(c) for c in contest.seen if (c.out or "").startswith("behind")}
    assert (0.5, 1 / 3) in behind  # no plan at the end is this one at another step size
    assert all(c.out is None and STEPS in c.losses for c in ended)
