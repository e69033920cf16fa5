"""UV502 nonfinite-backward: a finite loss whose gradient is NaN or Inf."""

import math
from collections.abc import Iterable

from unvanish.cards import Card
from unvanish.causes.cause import Case, Cause, Finding, found
from unvanish.causes.nonfinite_patterns import backward_pattern, described, place

CARD = Card(
    code="UV502",
    name="nonfinite-backward",
    title="the backward pass makes NaN or Inf",
    says="The loss is finite but its gradient is not: {detail} in {where} gets a finite "
    "gradient and returns {count:.0f} bad values ({parameters:.0f} parameter tensors are "
    "poisoned).",
    what="The derivative of an op is infinite or 0 * inf at the values it got: sqrt or norm at "
    "exactly zero, log at zero, a power below one at zero, the unused branch of "
    "torch.where, a fully masked row of attention.",
    hurts="One step writes NaN into every weight it reaches. Loss scaling and clipping do not "
    "help.",
    apart="Named only if a parameter's gradient is really poisoned; NaN that never reaches a "
    "parameter is not named.",
    do="Make the input of the op safe before it: torch.where on the input and on the output "
    "(the double-where), an epsilon under the root, no fully masked rows.",
    reference="torch documentation, autograd mechanics: gradients for non-differentiable functions",
    clear="all gradients are finite ({parameters:.0f} tensors)",
)

REMEDIES = ("guard-operation",)


def find(case: Case) -> Iterable[Finding]:
    """The first backward op that turned a finite gradient into NaN or Inf.

    Not where the loss itself is NaN or Inf: no gradient of such a loss is finite.
    """
    loss, losses = case.trace.conditions.loss, case.trace.conditions.losses
    for bad in case.trace.nonfinite:
        value = losses[bad.batch] if bad.batch < len(losses) else loss
        if bad.phase == "backward" and (value is None or math.isfinite(value)):
            evidence = {
                "count": float(bad.count),
                "parameters": float(len(bad.parameters)),
                "input_min": bad.input_min,
                "input_max": bad.input_max,
                "input_zeros": None if bad.input_zeros is None else float(bad.input_zeros),
            }
            where = place(case.trace, bad)
            said = described(bad, backward_pattern(case.trace, bad))
            yield found(CARD, "broken", [where, *bad.parameters], evidence, REMEDIES, detail=said)


def clear(case: Case) -> dict[str, float] | None:
    """How many tensors got a gradient, all of them finite."""
    got = [p for p in case.trace.parameters if p.gradient_norm is not None]
    bad = any(p.nonfinite for p in got) or any(b.phase == "backward" for b in case.trace.nonfinite)
    return {"parameters": float(len(got))} if got and not bad else None


CAUSE = Cause(card=CARD, find=find, clear=clear, explains=("loss-scale-collapse",), exact=True)
