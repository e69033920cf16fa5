"""What a policy sees of a step, and what it may do about it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from unvanish.recording import Event, StepReading


@dataclass(slots=True, kw_only=True)
class Act:
    """One thing that a policy did: its words and numbers go into the recording as an event."""

    policy: str
    detail: str
    evidence: Mapping[str, float] = field(default_factory=dict[str, float])
    where: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class Occasion:
    """A point of a training at which policies may speak: what they said, in order."""

    step: int
    acts: list[Act] = field(default_factory=list[Act])

    def say(
        self,
        policy: str,
        detail: str,
        evidence: Mapping[str, float] | None = None,
        where: Iterable[str] = (),
    ) -> None:
        """Log one act."""
        self.acts.append(
            Act(policy=policy, detail=detail, evidence=evidence or {}, where=tuple(where))
        )


@dataclass(slots=True, kw_only=True)
class Moment(Occasion):
    """One optimizer step as a policy meets it.

    ``parameters`` are the watched ones by name, in the order of the reading's columns; their
    ``.grad`` is what the optimizer will use, times ``loss_scale`` where it is not 1 (a fused
    optimizer divides itself). ``reading`` was taken of these gradients (already unscaled, and
    after the user's own clipping). ``loss`` is the last one that a backward pass began from,
    without the loss scale. ``alarms`` are those raised since the step before. ``model`` is the
    watched one, where it is known.

    A policy may multiply gradients in place (and then sets ``touched``: the reading no longer
    says what they are), and set ``skip`` and ``rate_factor``; the watcher does the rest and
    undoes it after the step. Everything it does it also says, with :meth:`say`.
    """

    optimizer: torch.optim.Optimizer
    parameters: Mapping[str, Tensor]
    reading: StepReading
    loss: float | None
    loss_scale: float = 1.0
    scaler: Any = None
    model: nn.Module | None = None
    alarms: tuple[Event, ...] = ()
    skip: bool = False
    rate_factor: float = 1.0
    touched: bool = False


@dataclass(slots=True, kw_only=True)
class ScaleUpdate(Occasion):
    """A ``GradScaler.update()`` that has just been done, steps that the scaler left out included.

    ``step`` is the number that the next step will have.
    """

    scaler: Any


class Policy(Protocol):
    """Something that acts on a training.

    ``name`` is unique among the policies of a watch. ``before_step`` is called with complete
    gradients before the optimizer uses them, ``after_step`` when it has (``moment.skip`` and
    ``moment.rate_factor`` as they were carried out), ``close`` when the watch ends: whatever the
    policy still holds changed is undone there. While it does not act, a policy changes no bit.
    A policy object belongs to one watch: it remembers what it saw.
    """

    name: str

    def before_step(self, moment: Moment) -> None: ...

    def after_step(self, moment: Moment) -> None: ...

    def close(self) -> None: ...


@runtime_checkable
class ScalePolicy(Protocol):
    """A policy that is also called after every update of the loss scale.

    Only between ``scaler.update()`` and the next ``scaler.scale(loss)`` may the scale be changed:
    a loss and its gradients must see the same one.
    """

    def after_update(self, update: ScaleUpdate) -> None: ...
