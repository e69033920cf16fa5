"""Case: one program of the corpus with its label."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Program = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Drawn:
    """What a case builds for one seed: the arguments of ``diagnose`` and where the fault sits.

    ``where`` holds names of modules or parameters, one of which a finding must name; empty where
    the fault has no single place (the whole net's initialisation, the loss, the step size).
    """

    program: Program
    where: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """A program and what is true of it.

    ``build(seed, broken)`` draws it; ``broken=False`` gives the healthy twin, which differs in the
    fault alone. ``cause`` is the name of the finding that must come first (``None``: healthy),
    ``also`` names that are right as well. ``steps`` are the real steps that ``diagnose`` may need
    to see it. ``check`` says how the label is proved by training: ``"learns"`` (it gains less
    than two thirds of what its twin gains), ``"moves"`` (the parameters at ``where`` stay put, or are
    not the model's, while the twin's move), ``"raises"`` (its own backward fails or is not
    finite, the twin's is). ``suspicious`` marks the healthy ones that look ill,
    ``graded`` those whose label training decides; ``twinned`` is false where the twin is no healthy
    program of its own (another fault remains in it).
    """

    name: str
    architecture: str
    build: Callable[[int, bool], Drawn]
    cause: str | None = None
    also: tuple[str, ...] = ()
    steps: int = 0
    check: str = "learns"
    suspicious: str = ""
    generated: bool = False
    training: int = 200
    graded: bool = False
    twinned: bool = True

    @property
    def healthy(self) -> bool:
        return self.cause is None

    @property
    def exact(self) -> bool:
        return self.cause in EXACT


EXACT = frozenset(
    "symmetric-init no-nonlinearity single-unit-softmax double-softmax nonfinite-forward "
    "nonfinite-backward unregistered-module detached not-in-optimizer nothing-trainable "
    "frozen-by-checkpoint stuck-saddle broadcast-loss half-precision-weights "
    "clip-before-unscale stale-gradients".split()
)
"""Causes that can be decided without statistics."""

CAUSES = EXACT | frozenset(
    "init-too-small init-too-large saturated-activation dead-units depth-decay depth-growth "
    "post-norm-depth collapsed-signal chaotic-signal time-decay time-growth "
    "half-precision-underflow step-too-large step-too-small epsilon-dominated "
    "weight-decay-dominates unscaled-input unscaled-target unfit-loss wrong-sign "
    "nothing-to-learn loss-scale-collapse always-clipped unscaled-accumulation".split()
)
"""Every cause that ``diagnose`` can in principle see from what it is given."""
