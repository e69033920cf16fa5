"""Cause, Finding, Expected: what a diagnosis is made of."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from unvanish.cards import Card
from unvanish.experiments.laboratory import Laboratory
from unvanish.signals import FLOAT32_RESOLUTION
from unvanish.trace import Trace
from unvanish.training.optimizer import OptimizerReading

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What a cause looks at. ``optimizer`` is ``None`` where none was given."""

    trace: Trace
    laboratory: Laboratory
    optimizer: OptimizerReading | None = None


Ask = Callable[[Case], Iterable[Finding | Expected]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One entry of the catalogue: its card, what it explains, and how it is found.

    ``explains`` lists findings that are this one's consequences where both are met. ``clear``
    gives the numbers for the card's ``clear`` sentence when the cause is not met (``None``: there
    was nothing to look at). A ``fallback`` is only asked where nothing harmful was found before it;
    ``otherwise`` is asked last of all, where nothing harmful was found by any.
    """

    card: Card
    find: Ask
    explains: tuple[str, ...] = ()
    clear: Callable[[Case], Mapping[str, float] | None] | None = None
    exact: bool = False
    fallback: bool = False
    otherwise: Ask | None = None


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
