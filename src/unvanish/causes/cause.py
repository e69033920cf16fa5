"""Cause, Finding, Expected: what a diagnosis is made of."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from unvanish.cards import Card
from unvanish.held_out import HeldOut
from unvanish.loop import LoopRecord
from unvanish.optimizer import OptimizerReading
from unvanish.rehearsal import Rehearsal
from unvanish.signals import FLOAT32_RESOLUTION
from unvanish.trace import Trace

# Sizes are judged against the resolution of float32, the most that weights are kept in anywhere:
# a verdict must not depend on the dtype that the user happens to diagnose in.
RESOLUTION = FLOAT32_RESOLUTION
BROKEN_DECADES = 7.22
"""-log10(2^-24). A share below it changes nothing when it is added: exactly lost."""
HARMFUL_DECADES = 3.61
"""Half of it: a share whose *square* is lost, in a gradient norm or a second moment. Measured on
digits: sigmoid, tanh and ReLU nets whose first layer stands this low under the last stop
reaching full accuracy at most learning rates; at BROKEN_DECADES at all of them."""

SEVERITIES = ("broken", "harmful", "note")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A cause met somewhere.

    ``severity`` is ``"broken"`` (this part cannot learn), ``"harmful"`` (it learns far worse than
    it could) or ``"note"``. ``where`` holds dotted module or parameter names, the place where it
    begins first. ``because`` names the finding that explains this one, if one does.
    """

    code: str
    name: str
    severity: str
    where: tuple[str, ...]
    evidence: Mapping[str, float] = field(default_factory=dict[str, float])
    remedies: tuple[str, ...] = ()
    because: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Something that looks bad and is not: what, where, why it is fine, what would change that."""

    name: str
    where: tuple[str, ...]
    because: str
    unless: str
    evidence: Mapping[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True, slots=True, kw_only=True)
class RuledOut:
    """A cause that was looked for and not met, with the numbers that say so."""

    name: str
    evidence: Mapping[str, float] = field(default_factory=dict[str, float])


class DataScale(Protocol):
    """Root mean square, mean and extremes of some values."""

    @property
    def rms(self) -> float: ...
    @property
    def mean(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


class Laboratory(Protocol):
    """Experiments a cause may ask for. Each runs on a copy; ``None``: it could not be run."""

    allowed: int
    """Real steps that the user granted."""

    def after_steps(self, steps: int) -> Trace | None:
        """The trace of a copy after a few real optimizer steps on the same data."""
        ...

    def rehearsal(
        self,
        *,
        rate: float = 1.0,
        decay: bool = True,
        share: float = 1.0,
        scaled: str | None = None,
    ) -> Rehearsal | None:
        """Real steps of a copy with the user's optimizer, its step size multiplied by ``rate``."""
        ...

    def held_out(self) -> HeldOut | None:
        """Whether what a copy learns on half of the samples says anything about the rest."""
        ...

    def shuffled_ratio(self) -> float | None:
        """Loss over the loss with the targets given to the wrong samples (1: nothing is known)."""
        ...

    def data_scale(self, part: str) -> "DataScale | None":
        """Scale of the float values among the first batch's ``"inputs"`` or ``"targets"``."""
        ...

    def with_inputs_scaled(self) -> Trace | None:
        """The trace with float inputs at zero mean and unit variance."""
        ...

    def jacobian_spread(self) -> float | None:
        """Standard deviation of the logarithm of the end-to-end Jacobian's singular values."""
        ...

    def with_loss_scaled(self, factor: float) -> Trace | None:
        """The trace with the loss multiplied by ``factor``."""
        ...

    def loop(
        self,
        *,
        scale_factor: float = 1.0,
        scale_to: float | None = None,
        clip: bool = True,
        divide: float = 1.0,
    ) -> LoopRecord | None:
        """Calls of the user's own training step on copies (``None``: none was given)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What a cause looks at. ``optimizer`` is ``None`` where none was given."""

    trace: Trace
    laboratory: Laboratory
    optimizer: OptimizerReading | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One entry of the catalogue: its card, what it explains, and how it is found.

    ``explains`` lists findings that are this one's consequences where both are met. ``clear``
    gives the numbers for the card's ``clear`` sentence when the cause is not met (``None``: there
    was nothing to look at).
    """

    card: Card
    find: Callable[[Case], Iterable[Finding | Expected]]
    explains: tuple[str, ...] = ()
    clear: Callable[[Case], Mapping[str, float] | None] | None = None
    exact: bool = False


def found(
    card: Card,
    severity: str,
    where: Iterable[str],
    evidence: Mapping[str, float | None],
    remedies: tuple[str, ...] = (),
    detail: str | None = None,
) -> Finding:
    """A finding of this card; evidence that is unknown is left out."""
    return Finding(
        code=card.code,
        name=card.name,
        severity=severity,
        where=tuple(dict.fromkeys(where)),
        evidence={name: float(value) for name, value in evidence.items() if value is not None},
        remedies=remedies,
        detail=detail,
    )
