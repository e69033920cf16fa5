"""UV606 broadcast-loss: prediction and target are paired each with each."""

from collections.abc import Iterable

from unvanish.cards import Card
from unvanish.causes.cause import Case, Cause, Finding, found
from unvanish.causes.dataflow import SCALINGS, SUMS, Dataflow

CARD = Card(
    code="UV606",
    name="broadcast-loss",
    title="prediction and target shapes broadcast against each other",
    says="In {detail} the loss compares every prediction of {where} with every target: "
    "{elements:.0f} values were made of {samples:.0f} pairs.",
    what="A prediction of shape (N, 1) and a target of shape (N) are broadcast to (N, N): each "
    "prediction is held against the targets of all other samples too.",
    hurts="The best that this loss allows is the mean of the targets for every sample. It falls at "
    "first and then stands, with gradients that look healthy.",
    apart="Decided from shapes: both sides hold the same number of values, and their difference or "
    "product holds more. One side is the prediction, the other needs no gradient. Dimensions "
    "added on purpose right there (unsqueeze, [:, None]: a table of distances) are not meant.",
    do="Bring both to one shape: outputs.squeeze(-1), or targets.unsqueeze(-1).",
    reference="torch.nn.functional.mse_loss: warning on a target size that is different to the "
    "input size; torch documentation, broadcasting semantics",
)

REMEDIES = ("match-shapes",)
ELEMENTWISE = frozenset(
    "mse_loss l1_loss smooth_l1_loss huber_loss poisson_nll_loss gaussian_nll_loss kl_div "
    "soft_margin_loss binary_cross_entropy binary_cross_entropy_with_logits".split()
)
WIDENING = frozenset("unsqueeze getitem view reshape expand unflatten".split())


def find(case: Case) -> Iterable[Finding]:
    """The first operation at the loss that pairs each value with each other."""
    flow = Dataflow(case.trace)
    for index in sorted(flow.near_loss):
        operation = flow[index]
        written = operation.function in SUMS | SCALINGS | {"rdiv"}
        if index not in flow.trained or len(operation.input_shapes) < 2:
            continue
        if not written and operation.function not in ELEMENTWISE:
            continue
        first, second = operation.input_shapes[:2]
        elements = _count(_broadcast(first, second))
        if _count(first) != _count(second) or elements <= _count(first):
            continue
        if written and not _is_comparison(flow, index):
            continue
        yield found(
            CARD,
            "broken",
            [flow.feeder(index) or operation.module or "(model)"],
            {"elements": float(elements), "samples": float(_count(first))},
            REMEDIES,
            detail=f"{operation.function} of {first} and {second}",
        )
        return


def _is_comparison(flow: Dataflow, index: int) -> bool:
    """One side is the model's, one is not, and neither was widened for it outside the model."""
    makers = flow[index].inputs[:2]
    widened = any(m is not None and not flow[m].inside and _widens(flow, m) for m in makers)
    return (
        sum(m in flow.trained for m in makers) == 1 and not flow[index].parameters and not widened
    )


def _widens(flow: Dataflow, index: int) -> bool:
    operation = flow[index]
    if operation.function not in WIDENING or not operation.input_shapes:
        return False
    return len(operation.output_shape) > len(operation.input_shapes[0])


def _broadcast(first: tuple[int, ...], second: tuple[int, ...]) -> tuple[int, ...]:
    length = max(len(first), len(second))
    left = (1,) * (length - len(first)) + first
    right = (1,) * (length - len(second)) + second
    return tuple(max(a, b) for a, b in zip(left, right, strict=True))


def _count(shape: tuple[int, ...]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total


CAUSE = Cause(
    card=CARD,
    find=find,
    exact=True,
    explains=("unfit-loss", "epsilon-dominated", "step-too-small"),
)
