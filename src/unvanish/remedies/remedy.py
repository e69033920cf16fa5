"""Remedy, Patient, Card of a remedy: what a treatment is made of."""

import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from unvanish.batches import Forward, Loss
from unvanish.cards import WIDTH, filled_to
from unvanish.causes.cause import Finding
from unvanish.diagnosis import Diagnosis
from unvanish.languages import filled, marked
from unvanish.languages import gettext as _
from unvanish.surgery.edits import Edit
from unvanish.training.optimizer_copy import OptimizerFactory

Keep = Literal["function", "layers", "shape", "anything"]
"""How far a cure may go: nothing of the architecture; activations; norms and skips; cells too."""
Level = Literal["wiring", "loop", "values", "activation", "norm", "skip", "cell", "advice"]
"""How large an intervention is, smallest first (advice changes nothing at all)."""
Safety = Literal["same function", "changes the function", "advice"]
"""Whether the model computes the same right after the edit, another function, or nothing is done."""


LEVELS: dict[Level, str] = {
    "wiring": marked("wiring"),
    "loop": marked("loop"),
    "values": marked("values"),
    "activation": marked("activation"),
    "norm": marked("norm"),
    "skip": marked("skip"),
    "cell": marked("cell"),
    "advice": marked("advice"),
}
SAFETIES: dict[Safety, str] = {
    "same function": marked("same function"),
    "changes the function": marked("changes the function"),
    "advice": marked("advice"),
}
"""What people read for these; the names themselves are the same in every language."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """What a remedy may look at, and never changes."""

    model: nn.Module
    batches: Sequence[Any]
    loss: Loss | None
    forward: Forward | None
    optimizer: torch.optim.Optimizer | OptimizerFactory | None
    diagnosis: Diagnosis
    seed: int = 0


Plan = tuple[Edit, ...]
"""The edits of one candidate, applied together and in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemedyCard:
    """The words of a remedy: what it does, when it harms, where it comes from."""

    name: str
    title: str
    what: str
    harms: str
    reference: str

    def text(self, width: int = WIDTH) -> str:
        """The card as plain text for a terminal."""
        parts = [textwrap.fill(f"{self.name}: {_(self.title)}", width), ""]
        for heading, body in (
            (_("What it does"), _(self.what)),
            (_("When it harms"), _(self.harms)),
            (_("Reference"), self.reference),
        ):
            parts += [heading, filled_to(width, body), ""]
        return "\n".join(parts).rstrip() + "\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """One entry of the list.

    ``treats`` are the names of findings. ``plan(patient, finding)`` gives one or more alternative
    plans for a finding, the most promising first; nothing where the remedy does not fit this model.
    ``one``: only the first plan that is allowed is tried, as those behind it do the same less well.
    """

    card: RemedyCard
    level: Level
    keep: Keep
    safety: Safety
    treats: tuple[str, ...]
    plan: Callable[[Patient, Finding], Iterable[Plan]]
    one: bool = False

    def text(self, width: int = WIDTH) -> str:
        """The card with what kind of change it is and what it treats, for a terminal."""
        rows = (
            (_("Level"), _(LEVELS[self.level])),
            (_("Keep"), filled(_("from {keep} on"), keep=f"keep={self.keep!r}")),
            (_("Safety"), _(SAFETIES[self.safety])),
            (_("Treats"), ", ".join(self.treats)),
        )
        lines = [f"{name + ':':<8} {said}" for name, said in rows]
        told = [textwrap.fill(line, width, subsequent_indent=" " * 9) for line in lines]
        return self.card.text(width) + "\n" + "".join(f"{line}\n" for line in told)
