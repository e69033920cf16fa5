"""A log likelihood that the program writes out itself: weights from the labels times logarithms."""

import math

from unvanish.causes.cause import Case
from unvanish.causes.dataflow import SCALINGS, SUMS, VIEWS, Dataflow
from unvanish.causes.single_unit_softmax import SOFTMAXES

LOGARITHMS = frozenset("log logsigmoid log_sigmoid log_softmax".split())
REDUCING = (VIEWS - {"getitem"}) | SUMS | frozenset("mean sum neg".split())
PICKING = frozenset(("gather", "getitem", "take_along_dim", "index_select"))
COUNTING = frozenset(("one_hot", "eq", "ne", "__eq__"))
BETWEEN = (VIEWS - PICKING) | SUMS | frozenset("clamp clip clamp_min clamp_max".split())
BOUNDED = SOFTMAXES | {"sigmoid"}


def likelihood_went_up(case: Case) -> int | None:
    """The operation that makes a negative loss out of nothing but labelled log-probabilities.

    Every term must be the logarithm of a probability, weighed by a share that came with the batch
    (a label of 0 to 1, or one minus it) or picked by a label. Such a sum is never positive: where
    the loss is negative, its minus sign is missing, and each step makes the labels less likely. A
    logarithm without a label (a generator against its critic) is not meant.
    """
    loss, trace = case.trace.conditions.loss, case.trace
    if loss is None or not loss < 0 or trace.loss_operation is None:
        return None
    flow, start = Dataflow(trace), trace.loss_operation
    terms, pending, seen = list[int](), [start], set[int]()
    while pending:
        index = pending.pop()
        if index in seen:
            continue
        seen.add(index)
        signals = [m for m in flow[index].inputs if m is not None and m in flow.trained]
        if _is_labelled(case, flow, index):
            terms.append(index)
        elif signals and flow[index].function in REDUCING | SCALINGS:
            function = flow[index].function
            if function in SUMS and len(signals) < 2:
                return None  # a number is added: what is negative may be that
            if function in SCALINGS and not _is_number(flow, index):
                return None
            pending += signals
        else:
            return None
    return start if terms else None


def _is_number(flow: Dataflow, index: int) -> bool:
    """Whether the signal is multiplied by a plain number only."""
    shapes = zip(flow[index].inputs, flow[index].input_shapes, strict=True)
    return all(not shape for maker, shape in shapes if maker not in flow.trained)


def _is_labelled(case: Case, flow: Dataflow, index: int) -> bool:
    operation = flow[index]
    if _picks(flow, index):
        return _is_log_probability(flow, flow.argument(index, 0, BETWEEN))
    if operation.function == "log":
        picked = flow.argument(index, 0, BETWEEN)
        if picked is None or not _picks(flow, picked):
            return False
        source = flow.argument(picked, 0, BETWEEN)
        return source is not None and flow[source].function in BOUNDED
    if operation.function != "mul" or len(operation.inputs) != 2:
        return False
    for place in (0, 1):
        other = operation.inputs[1 - place]
        if other not in flow.trained and _is_log_probability(flow, flow.argument(index, place)):
            return _is_share(case, flow, other)
    return False


def _picks(flow: Dataflow, index: int) -> bool:
    """Whether entries are picked by a tensor, not by a plain number."""
    return flow[index].function in PICKING and len(flow[index].input_shapes) > 1


def _is_log_probability(flow: Dataflow, index: int | None) -> bool:
    if index is None or flow[index].function not in LOGARITHMS or index not in flow.trained:
        return False
    if flow[index].function != "log":
        return True
    source = flow.argument(index, 0, BETWEEN)
    return source is not None and flow[source].function in BOUNDED


def _is_share(case: Case, flow: Dataflow, index: int | None) -> bool:
    """Whether a weight made of the batch lies between 0 and 1: labels, or one minus labels."""
    made = flow.before(index)
    if made is not None and flow[made].function in COUNTING:
        return True
    scale = case.laboratory.data_scale("targets")
    if scale is None or scale.low < 0 or scale.high > 1:
        return False
    if made is None:
        return True
    taken, rms = flow[made].function in SUMS and flow.argument(made) is None, flow[made].output_rms
    # Of all numbers that labels can be taken from, one is told by the root mean square it leaves.
    rest = 1 - 2 * scale.mean + scale.rms**2
    return taken and rms is not None and math.isclose(rms**2, rest, rel_tol=1e-4, abs_tol=1e-9)
