"""What an initialisation did: changes, what was left alone and why, the gate before and after."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from unvanish.saved import Saved
from unvanish.trace import Gate


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One module that got new values. ``numbers`` are the factors that were used, by name.

    ``gain``: the weights multiply the mean square of a random signal by its square; ``scale``,
    ``shift``: the pre-activation is ``scale * u + shift`` for a signal u of unit variance;
    ``calibrated``: what the measured scale made of the weights in the end.
    """

    module: str
    method: str
    parameters: tuple[str, ...]
    numbers: Mapping[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """Parameters that kept their values, and why."""

    module: str
    reason: str
    parameters: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """The four-part gate: do scale, gradient, angles and singular values stay together?

    ``gate`` is that of :class:`unvanish.trace.Trace`, ``spread`` the standard deviation of
    ln(singular value) of d outputs / d inputs, ``loss`` the loss of the batch; ``arrives`` says
    whether any gradient at all reaches the first layer, ``normed`` that norms stand on the way:
    they set the scale of the signal anew, and only gradient times signal can be compared across
    them; ``closed`` that a head of zero was left alone, which lets no gradient through before its
    first step. ``None``: could not be measured (a signal that is exactly zero, inputs that are no
    float tensor, a recurrent module without layers, fewer than two layers before the head: the
    two ends are one).
    """

    gate: Gate | None
    spread: float | None
    loss: float | None
    arrives: bool
    normed: bool
    closed: bool = False

    @property
    def faults(self) -> tuple[str, ...]:
        """Which of the four parts fail: a factor of ten from end to end, singular values e^3 apart."""
        gate = self.gate
        forward = gate and (None if self.normed else gate.forward_decades)
        backward = gate and (gate.sensitivity_decades if self.normed else gate.backward_decades)
        barred = not self.arrives and not self.closed
        failing = {
            "forward scale": _beyond(forward),
            "backward scale": _beyond(backward) or barred,
            "angles between samples": gate and _lost(gate.cosine_first, gate.cosine_last),
            "spread of singular values": self.spread is not None and self.spread > 3,
        }
        return tuple(name for name, fails in failing.items() if fails)


@dataclass(frozen=True, slots=True, kw_only=True)
class InitReport(Saved):
    """What a call changed, left alone, measured and cost.

    ``passes`` counts forward-backward passes: a forward pass is a third, a backward pass two
    thirds, a backward pass through a backward pass four thirds.
    """

    SCHEMA: ClassVar[int | None] = 1

    method: str
    changes: tuple[Change, ...]
    left: tuple[Left, ...]
    before: Readings
    after: Readings
    passes: float
    seed: int
    notes: tuple[str, ...] = ()

    def changed(self, module: str) -> Change:
        """The change of this module.

        Raises:
            KeyError: it was not changed.
        """
        for change in self.changes:
            if change.module == module:
                return change
        raise KeyError(module)

    def __str__(self) -> str:
        return "\n".join((*self._head(), *self._changes(), *self._left(), *self._gate()))

    def _head(self) -> list[str]:
        tensors = sum(len(change.parameters) for change in self.changes)
        kept = sum(len(left.parameters) for left in self.left)
        return [
            f"{self.method}: {tensors} parameter tensors of {len(self.changes)} modules changed, "
            f"{kept} left alone, {self.passes:.1f} forward-backward passes"
        ]

    def _changes(self) -> list[str]:
        groups: dict[tuple[str, tuple[tuple[str, str], ...]], list[str]] = {}
        for change in self.changes:
            numbers = tuple((k, f"{v:.3g}") for k, v in change.numbers.items() if k != "calibrated")
            groups.setdefault((change.method, numbers), []).append(change.module or "(model)")
        return [
            f"  {method}{_numbers(numbers)}: {_listed(modules)}"
            for (method, numbers), modules in groups.items()
        ]

    def _left(self) -> list[str]:
        groups: dict[str, list[str]] = {}
        for left in self.left:
            groups.setdefault(left.reason, []).append(left.module or "(model)")
        return [f"  left alone, {reason}: {_listed(names)}" for reason, names in groups.items()]

    def _gate(self) -> list[str]:
        lines = [
            f"  {name:<28}{_shown(before):>10} -> {_shown(after)}"
            for name, before, after in _rows(self.before, self.after)
        ]
        return [*lines, f"  gate afterwards: {self._verdict()}"]

    def _verdict(self) -> str:
        faults, before = self.after.faults, self.before.faults
        new = ", ".join(fault for fault in faults if fault not in before)
        old = ", ".join(fault for fault in faults if fault in before)
        said = [f"newly failing: {new}"] * bool(new) + [f"still failing: {old}"] * bool(old)
        if self.after.closed and not self.after.arrives:
            said.append("no gradient passes the head of zero before its first step")
        if self.after.gate is None:
            said.append(
                "no scale was compared, as fewer than two layers were told apart before the head"
            )
        return "; ".join(said) or "all parts that were read are in order"


def _beyond(decades: float | None) -> bool:
    """Whether the scale changes by more than a factor of ten from end to end."""
    return decades is not None and not abs(decades) <= 1


def _lost(first: float | None, last: float | None) -> bool:
    """Whether what differs between samples shrinks to less than a tenth."""
    return first is not None and last is not None and 1 - last < (1 - first) / 10


def _rows(before: Readings, after: Readings) -> list[tuple[str, float | None, float | None]]:
    def both(name: str) -> tuple[float | None, float | None]:
        return getattr(before.gate, name, None), getattr(after.gate, name, None)

    return [
        ("forward scale, decades", *both("forward_decades")),
        ("backward scale, decades", *both("backward_decades")),
        ("cosine of samples, first", *both("cosine_first")),
        ("cosine of samples, last", *both("cosine_last")),
        ("spread of singular values", before.spread, after.spread),
        ("loss", before.loss, after.loss),
    ]


def _shown(value: float | None) -> str:
    return "unread" if value is None or not math.isfinite(value) else f"{value:.3g}"


def _numbers(numbers: tuple[tuple[str, str], ...]) -> str:
    return f" ({', '.join(f'{name} {value}' for name, value in numbers)})" if numbers else ""


def _listed(names: list[str]) -> str:
    if len(names) <= 4:
        return ", ".join(names)
    return f"{names[0]}, {names[1]}, ... {names[-1]} ({len(names)})"
