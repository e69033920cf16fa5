"""Experiments that take no step: a copy with one thing changed is run once, or a few times.

A module that raises, or a question that does not fit the program, is the caller's matter.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

from torch import Tensor, nn

from unvanish.batches import compute_loss, map_tensors, tensors_in
from unvanish.experiments.altered_data import (
    first_for_all,
    halves_of,
    no_number,
    shuffled,
    standardized,
    with_halves,
)
from unvanish.experiments.followed import follows, redraw
from unvanish.experiments.initial_weights import draw_again, make_neutral
from unvanish.experiments.program import Program
from unvanish.experiments.rehearsal import mean_loss
from unvanish.preserve import preserved
from unvanish.probe.compiled import eager
from unvanish.probe.gate import singular_value_spread
from unvanish.randomness import seeded
from unvanish.theory import critical_weight_decades
from unvanish.trace import Activation, Trace
from unvanish.twins import twin_of


def inputs_scaled(program: Program) -> Trace:
    """Every float input at zero mean and unit variance."""
    scaled = [standardized(batch, "inputs") for batch in program.batches(1)]
    return program.observed(program.model, scaled)


def neutral_init(program: Program, activations: Sequence[Activation]) -> Trace:
    """Weights before these activations that neither amplify nor attenuate."""
    variances = {
        a.fed_by: 100 ** critical_weight_decades(a.function)
        for a in activations
        if a.fed_by is not None
    }
    twin = twin_of(program.model)
    with seeded(program.seed):
        make_neutral(twin, variances)
    return program.observed(twin)


def redrawn(program: Program, seed: int) -> Trace:
    """The entries of every weight tensor in another order."""
    twin = twin_of(program.model)
    draw_again(twin, seed)
    return program.observed(twin)


def loss_scaled(program: Program, factor: float) -> Trace:
    """The loss multiplied before the backward pass."""

    def forward(model: nn.Module, batch: Any) -> Tensor:
        return factor * compute_loss(model, batch, program.loss, program.forward)

    return program.observed(program.model, forward=forward)


def loss_follows(program: Program, names: Sequence[str]) -> bool:
    """Whether the loss of a copy changes with the values of these parameters."""
    twin = twin_of(program.model)
    (batch,) = program.batches(1)

    def loss() -> float:
        with preserved(twin, program.seed), eager():
            return mean_loss(twin, [batch], program.loss_of)

    with seeded(program.seed):
        return follows(loss, lambda: redraw(twin, names))


def shuffled_ratio(program: Program, batch: Any, twin: nn.Module | None = None) -> float | None:
    """Loss over the loss with targets given to the wrong samples; ``None`` where there are none.

    None are those that the loss does not read, either: it is the same with the first sample's for
    all, and with no numbers. Of the user's model as it stands, or of a copy that was trained.
    """
    halves = halves_of(batch)
    if halves is None or not tensors_in(halves[1]):
        return None
    inputs, targets = halves
    twin = twin_of(program.model) if twin is None else twin

    def loss(change: Callable[[Tensor], Tensor]) -> float:
        with program.at_rest():
            other = with_halves(batch, inputs, map_tensors(targets, change))
            return mean_loss(twin, [other], program.loss_of)

    known, wrong = loss(Tensor.clone), loss(shuffled)
    if known == wrong == loss(first_for_all) and known == loss(no_number):
        return None
    return known / wrong if known > 0 and wrong > 0 else None


def redrawn_ratio(program: Program) -> float | None:
    """Loss over the loss with the entries of every weight tensor in another order."""
    twin, other = twin_of(program.model), twin_of(program.model)
    draw_again(other, program.seed)
    with program.at_rest():
        known, wrong = (mean_loss(m, program.batches(1), program.loss_of) for m in (twin, other))
    return known / wrong if known > 0 and wrong > 0 else None


def jacobian_spread(program: Program) -> float | None:
    """Spread of the end-to-end Jacobian's singular values; ``None`` but for one float tensor."""
    pair = program.pair()
    inputs = pair[0] if pair is not None else None
    if not isinstance(inputs, Tensor) or not inputs.is_floating_point():
        return None
    with program.at_rest():
        return singular_value_spread(twin_of(program.model), inputs.detach().clone())


def floats(program: Program, part: str) -> list[Tensor]:
    """The float tensors with entries among the first batch's ``"inputs"`` or ``"targets"``."""
    (batch,) = program.batches(1)
    halves = halves_of(batch)
    if halves is None:
        several = isinstance(batch, tuple | list)
        parts = cast(tuple[Any, ...], batch) if several else (batch,)
        halves = parts[0], parts[1:]
    return [
        tensor
        for tensor in tensors_in(halves[0] if part == "inputs" else halves[1])
        if tensor.is_floating_point() and tensor.numel()
    ]
