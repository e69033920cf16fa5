"""UV501 nonfinite-forward: the first op that makes NaN or Inf on the way to the loss."""

import math
from collections.abc import Iterable

from unvanish.cards import Card
from unvanish.causes.cause import Case, Cause, Finding, found
from unvanish.causes.dataflow import Dataflow
from unvanish.causes.nonfinite_patterns import (
    described,
    forward_pattern,
    loss_term,
    place,
    too_short,
)
from unvanish.trace import Nonfinite

CARD = Card(
    code="UV501",
    name="nonfinite-forward",
    title="the forward pass makes NaN or Inf",
    says="The loss is not finite. The first op to make it so is {detail} in {where}: "
    "{count:.0f} bad values out of inputs between {input_min:.3g} and {input_max:.3g}.",
    what="No input of this op was bad and its output is: log of zero, division by "
    "zero, square root of a negative number, overflow of exp or of half precision, a "
    "softmax over a fully masked row.",
    hurts="Everything after it is NaN: the loss, all gradients and, after one step, all weights.",
    apart="Infinities that are written on purpose (attention masks) and that the loss survives "
    "are not named. Where the op stands in the loss and the loss is a sum, its term is counted.",
    do="Look at the smallest and largest input: clamp it, add an epsilon inside the log or "
    "the root, use log_softmax or a ...-with-logits loss, or a wider dtype for this op.",
    reference="torch.autograd anomaly mode names an op in the backward pass only; this names the "
    "forward op",
    clear="the loss is finite ({loss:.4g})",
)

REMEDIES = ("guard-operation", "logits-loss", "scale-input", "step-size")
MASKING = frozenset(("masked_fill", "where"))
"""What writes infinities on purpose over scores that came in."""


def find(case: Case) -> Iterable[Finding]:
    """The first forward op that turned finite values into NaN or Inf, or what they came in with."""
    told = False
    for bad in case.trace.nonfinite:
        if bad.phase == "forward":
            told = True
            yield _came_in(case, bad) if bad.came_in is not None else _made(case, bad)
    if not told and not _is_finite(case):
        yield _let_through(case)


def _let_through(case: Case) -> Finding:
    """An infinity that was written on purpose (a masked score), and that the loss does not survive."""
    flow = Dataflow(case.trace)
    written = [flow[i] for i in sorted(flow.to_loss) if flow[i].function in MASKING]
    if not written:
        said = "The loss is not finite, and no operation was seen to make it so."
        return found(CARD, "broken", ["loss"], {}, detail=said)
    said = (
        f"The loss is not finite: the infinity that {written[-1].function} writes reaches it. What is "
        "asked for is masked for some sample."
    )
    return found(CARD, "broken", [written[-1].module or "(model)"], {}, detail=said)


def _made(case: Case, bad: Nonfinite) -> Finding:
    evidence = {
        "count": float(bad.count),
        "input_min": bad.input_min,
        "input_max": bad.input_max,
        "input_zeros": float(bad.input_zeros or 0),
    }
    term = loss_term(case.trace, bad)
    if term is not None:
        evidence |= {"loss_term": float(term[0]), "loss_terms": float(term[1])}
    said = described(bad, forward_pattern(case.trace, bad), term)
    remedies = () if too_short(bad) else REMEDIES  # what it was given is inside its domain
    return found(CARD, "broken", [place(case.trace, bad)], evidence, remedies, detail=said)


def _came_in(case: Case, bad: Nonfinite) -> Finding:
    """No operation is to blame: what it was given was bad already.

    Nor is there a remedy for it here: a parameter is so since an earlier step, where it is to be
    looked for, and a batch was made by somebody else.
    """
    where = bad.parameters or (place(case.trace, bad),)
    said = f"The loss is not finite. NaN or Inf came in with {bad.came_in}."
    return found(CARD, "broken", where, {"count": float(bad.count)}, detail=said)


def clear(case: Case) -> dict[str, float] | None:
    """The loss, if that of every batch is a number."""
    loss = case.trace.conditions.loss
    return {"loss": loss} if loss is not None and _is_finite(case) else None


def _is_finite(case: Case) -> bool:
    """Whether the loss of every batch is a number, as far as there is one."""
    conditions = case.trace.conditions
    return all(map(math.isfinite, (conditions.loss or 0.0, *conditions.losses)))


CAUSE = Cause(
    card=CARD,
    find=find,
    clear=clear,
    explains=("nonfinite-backward", "loss-scale-collapse", "wrong-sign", "dead-units"),
    exact=True,
)
