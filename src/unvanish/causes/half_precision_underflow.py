"""UV503 half-precision-underflow: gradients below float16's range, seen by scaling the loss."""

import math
from collections.abc import Iterable

from unvanish.cards import Card
from unvanish.causes.cause import Case, Cause, Finding, found
from unvanish.trace import Parameter, Trace

CARD = Card(
    code="UV503",
    name="half-precision-underflow",
    title="gradients fall below what float16 can hold",
    says="Gradients round to zero in float16: with the loss multiplied by {factor:.0f} the gradient of "
    "{tensors:.0f} tensors (first {where}) comes back, of which only {kept:.2g} arrived without.",
    what="float16 ends at 6e-8: a gradient entry below half of that becomes exactly zero. The range "
    "above is mostly unused, so multiplying the loss moves every entry up into it.",
    hurts="What became zero is lost before the optimizer sees it, layer by layer towards the input; "
    "no learning rate brings it back.",
    apart="The experiment is run: zeros of dead units stay zeros when the loss is scaled, these do "
    "not. Named only for tensors that lost more than half of their gradient's norm; a few small "
    "entries always go.",
    do="Scale the loss (torch.amp.GradScaler, which unscales before the step), or use bfloat16. If your "
    "training loop has a scaler, diagnose its step with forward= and the scaled loss.",
    reference="Micikevicius et al. 2018, arXiv:1710.03740, section 3.2 (loss scaling)",
)

REMEDIES = ("scale-loss",)
LARGEST = 2.0**15
"""Half of what float16 holds: the scaled loss starts the backward pass with this at most."""


def find(case: Case) -> Iterable[Finding]:
    """Tensors whose gradient is mostly zeros that are none once the loss is scaled."""
    trace = case.trace
    suspects = [p for p in trace.parameters if _mostly_zero(p)]
    if not suspects or not _in_half(trace):
        return
    factor = loss_factor(trace)
    scaled = case.laboratory.with_loss_scaled(factor) if factor > 1 else None
    if scaled is None:
        return
    lost = [(p, kept) for p in suspects if (kept := _kept(p, scaled, factor)) is not None]
    if lost:
        severity = "broken" if any(kept == 0 for _, kept in lost) else "harmful"
        evidence = {
            "factor": factor,
            "tensors": float(len(lost)),
            "kept": min(kept for _, kept in lost),
            "zeros": float(sum(p.zeros or 0 for p, _ in lost)),
        }
        yield found(CARD, severity, [p.name for p, _ in lost], evidence, REMEDIES)


def _mostly_zero(parameter: Parameter) -> bool:
    zeros = parameter.zeros or 0
    return parameter.state in ("zero", "tiny", "reached") and 2 * zeros > parameter.elements > 0


def _in_half(trace: Trace) -> bool:
    return any(o.dtype == "float16" and o.requires_grad for o in trace.operations)


def loss_factor(trace: Trace) -> float:
    """The largest power of two that keeps loss and gradients within float16."""
    norms = [op.norm for op in trace.ops if op.norm]
    top = max((*norms, abs(trace.conditions.loss or 0.0), 1e-30))
    return min(2.0 ** math.floor(math.log2(LARGEST / top)), LARGEST)


def _kept(parameter: Parameter, scaled: Trace, factor: float) -> float | None:
    """Share of the gradient's norm that arrived without scaling, where that is less than half."""
    later = scaled.parameter(parameter.name)
    if later.nonfinite or not later.gradient_norm or (later.zeros or 0) >= (parameter.zeros or 0):
        return None
    kept = (parameter.gradient_norm or 0.0) * factor / later.gradient_norm
    return kept if kept < 0.5 else None


CAUSE = Cause(card=CARD, find=find)
