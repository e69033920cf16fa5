"""What a program's loss says about it: what goes into it, and whether the net is done."""

import math

from unvanish.causes.cause import Case
from unvanish.trace import Operation, Trace

REGRESSION = frozenset(("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"))
SQUASHING = {
    "sigmoid": (0.0, 1.0),
    "hardsigmoid": (0.0, 1.0),
    "softmax": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "hardtanh": (-1.0, 1.0),
    "softsign": (-1.0, 1.0),
    "erf": (-1.0, 1.0),
    "relu6": (0.0, 6.0),
    "relu": (0.0, math.inf),
    "softplus": (0.0, math.inf),
    "exp": (0.0, math.inf),
}
_VIEWS = frozenset(
    "view reshape squeeze unsqueeze flatten transpose permute contiguous float double half to "
    "getitem clone type".split()
)


def loss_operations(trace: Trace) -> list[Operation]:
    """The named loss functions whose value flowed into the loss."""
    names = REGRESSION | {
        "cross_entropy",
        "nll_loss",
        "binary_cross_entropy",
        "binary_cross_entropy_with_logits",
    }
    return [operation for operation in trace.operations if operation.function in names]


def made_by(trace: Trace, operation: Operation, argument: int = 0) -> Operation | None:
    """The operation behind an argument, looking through views; ``None``: the batch or a weight."""
    current = operation
    while argument < len(current.inputs):
        index = current.inputs[argument]
        if index is None:
            return None
        current, argument = trace.operations[index], 0
        if current.function not in _VIEWS:
            return current
    return None


def is_given(trace: Trace, operation: Operation, argument: int) -> bool:
    """Whether an argument is a tensor of the batch or a constant, looking through views."""
    index = operation.inputs[argument]
    while index is not None:
        maker = trace.operations[index]
        if maker.function not in _VIEWS or not maker.inputs:
            return False
        index = maker.inputs[0]
    return True


DONE = 0.1
CERTAIN = 0.01
"""Cross entropy below this share of chance: the right class has 95 % and more on average."""


def share_of_chance(trace: Trace) -> float:
    """Cross entropy over that of guessing among its classes; infinite where that is not the loss."""
    end, loss = trace.loss_operation, trace.conditions.loss
    if end is None or trace.operations[end].function != "cross_entropy" or loss is None:
        return math.inf
    shapes = trace.operations[end].input_shapes
    shape = shapes[0] if shapes else ()
    classes = shape[1] if len(shape) > 1 else shape[0] if shape else 1
    return loss / math.log(classes) if classes > 1 and loss >= 0 else math.inf


def converged(case: Case) -> bool:
    """Whether the net knows its targets: the loss is a tenth of that with shuffled targets.

    A net that is done has small gradients and small steps for a good reason. Where targets cannot
    be shuffled (one sample, a loss of its own), cross entropy itself tells; and of a net that has
    taken steps the loss that it has with its weights in another order.
    """
    if share_of_chance(case.trace) < CERTAIN:
        return True
    ratio = case.laboratory.shuffled_ratio()
    if ratio is None and case.laboratory.stepped:
        ratio = case.laboratory.redrawn_ratio()
    return ratio is not None and ratio < DONE


LARGE_INPUT = 10.0
"""The step that the first layer bears falls with the square of the input's scale: a hundredfold."""
LONG = 20
"""Fewer real steps show the start of a run, not how it learns."""


def large_inputs(case: Case) -> float | None:
    """Root mean square of the inputs, where it is far above one."""
    scale = case.laboratory.data_scale("inputs")
    return None if scale is None or scale.rms < LARGE_INPUT else scale.rms


def learns_as_with_scaled_inputs(case: Case) -> bool:
    """Whether large inputs do not slow the loss: a real run falls nine tenths as far as with scaled.

    Layers behind can learn from units that only switch. What saturated units keep from carrying
    over to fresh samples the loss of the shown ones does not tell.
    """
    if case.laboratory.allowed < LONG or large_inputs(case) is None:
        return False
    base = case.laboratory.rehearsal()
    scaled = case.laboratory.rehearsal(scaled="inputs") if base is not None else None
    return base is not None and scaled is not None and base.fell >= 0.9 * scaled.fell > 0


def squashed_output(trace: Trace) -> tuple[Operation, Operation, tuple[float, float]] | None:
    """The loss, the squashing function right before it and its range, for regression losses."""
    for operation in loss_operations(trace):
        source = made_by(trace, operation)
        if operation.function in REGRESSION and source is not None:
            limits = SQUASHING.get(source.function)
            if limits is not None:
                return operation, source, limits
    return None
