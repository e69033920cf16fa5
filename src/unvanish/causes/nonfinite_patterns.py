"""The known ways in which an operation makes NaN or Inf, recognised from its name and its inputs."""

import math
from collections.abc import Iterable

from unvanish.causes.dataflow import Dataflow
from unvanish.trace import Nonfinite, Op, Operation, Trace

_LOGARITHMS = frozenset("log log2 log10 log1p logit xlogy".split())
_ROOTS = frozenset("sqrt rsqrt pow std var".split())
_EXPONENTIALS = frozenset("exp exp2 expm1 sinh cosh logsumexp".split())
_QUOTIENTS = frozenset("div divide true_divide truediv reciprocal rsqrt remainder fmod".split())
_DISTANCES = frozenset("Sqrt LinalgVectorNorm Norm Std StdMean Cdist Dist EuclideanDist".split())
_SELECTORS = frozenset(("Where", "MaskedFill", "MaskedScatter", "Index", "MaskedSelect"))


def forward_pattern(trace: Trace, bad: Nonfinite) -> str | None:
    """What happened at a forward op, in words; ``None``: none of the known ways."""
    name = {"rtruediv": "truediv", "__rtruediv__": "truediv"}.get(bad.operation, bad.operation)
    low, high = bad.input_min, bad.input_max
    if too_short(bad):
        return "an input is shorter than its target needs: fewer strides, or zero_infinity=True"
    if "softmax" in name or "attention" in name:
        return "a row that is masked all over" if low is not None and low == -float("inf") else None
    if name in _LOGARITHMS and low is not None:
        return "the logarithm of a negative number" if low < 0 else "the logarithm of zero"
    if name in _QUOTIENTS and bad.input_zeros:
        return "zero divided by zero" if bad.kind == "nan" else "a division by zero"
    if name in _ROOTS and low is not None and low < 0 and bad.kind == "nan":
        return "the root of a negative number"
    if _dtype(trace, bad) == "float16" and bad.kind == "inf" and (high is None or high < 65504):
        return "an overflow of float16 (which ends at 65504)"
    return "an overflow of the exponential" if name in _EXPONENTIALS else None


def too_short(bad: Nonfinite) -> bool:
    """Whether a CTC loss is infinite though no probability is zero: no path spells the target.

    It takes a step for each label and one more between two of the same.
    """
    spelt = bad.operation == "ctc_loss" and bad.kind == "inf"
    return spelt and bad.input_min is not None and math.isfinite(bad.input_min)


def place(trace: Trace, bad: Nonfinite) -> str:
    """The module, the model itself, or the loss: the program's own lines behind all modules."""
    if bad.module:
        return bad.module
    at = [i for i, o in enumerate(trace.operations) if (o.module, o.call) == ("", bad.call)]
    alike = [i for i in at if _plain(trace.operations[i].function) == _plain(bad.operation)] or at
    if not alike or any(trace.operations[i].inside for i in alike):
        return "(model)"
    # What is made for the model to read is none of the loss.
    behind = Dataflow(trace).descendants(alike)
    return "(model)" if any(trace.operations[i].inside for i in behind) else "loss"


def _plain(function: str) -> str:
    """One name for the program's ``linalg_norm`` and autograd's ``LinalgNorm``."""
    return function.replace("_", "").lower()


def backward_pattern(trace: Trace, bad: Nonfinite) -> str | None:
    """What happened at a backward op, in words; ``None``: none of the known ways."""
    op = next((o for o in trace.ops if _is(o, bad)), None)
    if op is not None and _selected_away(trace.ops, op):
        return "the branch that a mask or torch.where left out: zero times an infinite derivative"
    if bad.operation in _DISTANCES and (bad.input_zeros or bad.input_zeros is None):
        return "the derivative of a root or a norm at zero"
    if bad.operation in ("Log", "Log2", "Log10", "Logit", "Xlogy"):
        return "the derivative of a logarithm at zero"
    if bad.operation in ("Div", "Reciprocal", "Rsqrt") and bad.input_zeros:
        return "the derivative of a division by zero"
    if bad.operation == "Pow" and bad.input_zeros:
        return "the derivative of a power below one at zero"
    # A logarithm of softmax ends a classifier, it is no attention.
    attention = "Softmax" in bad.operation and "Log" not in bad.operation
    if attention or "DotProduct" in bad.operation:
        return "a row of attention that is masked all over"
    return forward_pattern(trace, bad)  # NaN of the forward pass that the loss does not see


def described(bad: Nonfinite, pattern: str | None, term: tuple[int, int] | None = None) -> str:
    """The op with what happened at it, in which batch and, where known, in which term of the loss."""
    said = bad.operation if pattern is None else f"{bad.operation} ({pattern})"
    said = said if term is None else f"{said}, term {term[0]} of {term[1]} of the loss,"
    return said if not bad.batch else f"{said} met in batch {bad.batch + 1},"


def loss_term(trace: Trace, bad: Nonfinite) -> tuple[int, int] | None:
    """Which term of the loss, counted as written, and of how many; ``None`` where it is no sum."""
    index = next((i for i, o in enumerate(trace.operations) if _made(o, bad)), None)
    if index is None or trace.loss_operation is None:
        return None
    terms = _terms(trace, trace.loss_operation)
    reached = Dataflow(trace).descendants([index])
    hit = [place for place, term in enumerate(terms, 1) if term in reached]
    return (hit[0], len(terms)) if len(terms) > 1 and len(hit) == 1 else None


def _made(operation: Operation, bad: Nonfinite) -> bool:
    rms = operation.output_rms
    same = (operation.function, operation.module) == (bad.operation, bad.module)
    return same and rms is not None and rms - rms != 0


def _terms(trace: Trace, start: int) -> list[int]:
    pending, terms = [start], list[int]()
    while pending:
        index = pending.pop()
        operation = trace.operations[index]
        made = _known(operation.inputs)
        scalar = not operation.output_shape or operation.output_shape == (1,)
        summed = operation.function.strip("_").lstrip("ir") in ("add", "sub") and scalar
        scaled = operation.function in ("mul", "div", "truediv") and len(made) == 1
        if summed or scaled:  # scaled: a sum times a plain number
            pending += reversed(made)
        else:
            terms.append(index)
    return terms


def _known(inputs: Iterable[int | None]) -> list[int]:
    return [made for made in inputs if made is not None]


def _dtype(trace: Trace, bad: Nonfinite) -> str | None:
    return next((o.dtype for o in trace.operations if _made(o, bad)), None)


def _is(op: Op, bad: Nonfinite) -> bool:
    poisoned = any(edge.nonfinite for edge in op.edges)
    return (op.kind, op.module, op.call) == (bad.operation, bad.module, bad.call) and poisoned


def _selected_away(ops: Iterable[Op], op: Op) -> bool:
    """Whether the gradient came straight from a selection and is exactly zero in places."""
    if not op.zeros:
        return False
    users: dict[int, list[Op]] = {}
    for other in ops:
        for edge in other.edges:
            if edge.target is not None:
                users.setdefault(edge.target, []).append(other)
    current = [op]
    for _ in range(8):  # through what keeps zeros where they are
        above = [user for below in current for user in users.get(below.index, ())]
        if any(user.kind in _SELECTORS for user in above):
            return True
        current = [user for user in above if user.elements == op.elements and user.zeros]
    return False
