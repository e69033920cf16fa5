"""A contender: one set of edits on a copy of the patient, and what short training says of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

import torch
from torch import nn

from unvanish.batches import Forward, Loss
from unvanish.errors import UnvanishError
from unvanish.init.report import Readings
from unvanish.probe.observe import observe
from unvanish.remedies.ordering import LEVELS
from unvanish.remedies.remedy import Level, Patient
from unvanish.surgery import apply, resolved
from unvanish.surgery.controls import Controls
from unvanish.surgery.edits import ARCHITECTURE, VALUES, Edit
from unvanish.surgery.optimizers import carried
from unvanish.trace import Trace
from unvanish.treatment.record import Tried
from unvanish.trial import Arm, Running


@dataclass(slots=True)
class Contender:
    """Edits with their remedies, the treated model and optimizer, and its training so far.

    ``faults``: in how many parts the gate fails at the start, as one look saw; none where nobody
    looked. ``behind``: a play-off has shown others to be better, by more than chance.
    """

    remedies: tuple[str, ...]
    level: Level
    edits: tuple[Edit, ...]
    model: nn.Module
    optimizer: torch.optim.Optimizer
    running: Running | None = None
    losses: dict[int, float] = field(default_factory=dict[int, float])
    left: tuple[str, ...] | None = None
    score: float | None = None
    faults: int = 0
    behind: bool = False
    out: str | None = None

    @property
    def size(self) -> tuple[int, int, int]:
        """How large an intervention it is: level, places of the architecture changed, edits."""
        changed = sum(len(e.where) or 1 for e in self.edits if e.action in ARCHITECTURE)
        return LEVELS.index(self.level), changed, len(self.edits)

    @property
    def is_another_net(self) -> bool:
        """Whether it exchanges layers of a net that was wired as meant: other functions, norms, skips."""
        return LEVELS.index(self.level) > LEVELS.index("values")

    @property
    def arm(self) -> Arm:
        """What a trial needs to train it."""
        controlled = any(edit.action == "step" for edit in self.edits)
        controls = Controls.from_edits(self.edits) if controlled else None
        label = " + ".join(self.remedies) or "as it was"
        return Arm(self.model, self.optimizer, controls, self.edits, label)

    def loss_at(self, steps: int) -> float:
        """The mean training loss at the end of that rung; infinite where it diverged."""
        found = self.losses.get(steps, math.inf)
        return found if math.isfinite(found) else math.inf

    def tried(self) -> Tried:
        """The record of it."""
        return Tried(
            remedies=self.remedies,
            level=self.level,
            edits=self.edits,
            losses=dict(self.losses),
            left=self.left,
            score=self.score,
            out=self.out,
        )


def best_of_levels(ranked: Sequence[Contender]) -> list[Contender]:
    """Of a field in order, of each level the first among those whose gate fails in the fewest parts."""
    levels: dict[str, Contender] = {}
    for contender in ranked:
        best = levels.setdefault(contender.level, contender)
        if contender.faults < best.faults:
            levels[contender.level] = contender
    return list(levels.values())


def operate(
    patient: Patient, remedies: Sequence[str], level: Level, edits: Sequence[Edit]
) -> Contender:
    """The patient's copy under these edits.

    Raises:
        UnvanishError: the edits cannot be made on this model.
    """
    edits = tuple(edits)
    try:
        model = apply(patient.model, edits, **_looking(patient))
        optimizer = carried(patient.optimizer, patient.model, model, edits)
    except (RuntimeError, TypeError, ValueError, NotImplementedError) as error:
        raise UnvanishError(f"the edits could not be made: {error}") from error
    return Contender(tuple(remedies), level, edits, model, optimizer)


def replayable(patient: Patient, edits: tuple[Edit, ...]) -> tuple[Edit, ...]:
    """The same edits with the shapes around each skip written down: a patch has no batch to ask."""
    if not any(edit.action == "wrap" for edit in edits):
        return edits
    return resolved(patient.model, edits, **_looking(patient))


class _Looking(TypedDict):
    batch: Any
    loss: Loss | None
    forward: Forward | None
    seed: int


def _looking(patient: Patient) -> _Looking:
    """What surgery looks at a patient with."""
    return _Looking(
        batch=patient.batches[0], loss=patient.loss, forward=patient.forward, seed=patient.seed
    )


def look(patient: Patient, model: nn.Module) -> Trace:
    """One observation of a treated copy on the patient's data."""
    return observe(
        model, list(patient.batches), patient.loss, patient.forward, patient.seed, batches=1
    )


def gate_faults(trace: Trace) -> tuple[str, ...]:
    """Which parts of the four-part gate fail, as far as one observation shows."""
    arrives = not trace.layers or bool(trace.layers[-1].norm)
    normed = any(layer.decades.get("norm") for layer in trace.layers[1:])
    return Readings(
        gate=trace.gate, spread=None, loss=trace.conditions.loss, arrives=arrives, normed=normed
    ).faults


def changes_the_start(contender: Contender) -> bool:
    """Whether the first forward and backward pass can differ at all from the patient's."""
    return any(edit.action in ARCHITECTURE | VALUES | {"set"} for edit in contender.edits)
