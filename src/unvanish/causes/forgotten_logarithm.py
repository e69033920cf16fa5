"""A likelihood that reads probabilities or raw scores where it takes logarithms."""

from unvanish.causes.dataflow import SCALINGS, VIEWS, Dataflow
from unvanish.causes.single_unit_softmax import SOFTMAXES
from unvanish.trace import Operation, Trace

PROBABILITIES = SOFTMAXES - {"log_softmax"}
READS = frozenset(("nll_loss", "ctc_loss"))
SCORES = frozenset("linear addmm conv1d conv2d conv3d".split())


def without_logarithm(trace: Trace) -> tuple[Operation, Operation] | None:
    """What reads them, and what makes probabilities or raw scores that nothing else reads for the loss.

    What else reads them, or another call of their layer, may be the part of the loss that bounds it
    (their logsumexp). A weight for each sample makes an expected reward of it; a sum of probabilities
    that is not negative was made so by somebody who knew (one minus each).
    """
    if not any(operation.function in READS for operation in trace.operations):
        return None
    flow = Dataflow(trace)
    for index in sorted(flow.to_loss):
        made = flow.argument(index) if flow[index].function in READS else None
        # torch's slope of ctc_loss is that of a softmax of what it reads: raw scores normalise themselves.
        read = PROBABILITIES if flow[index].function == "ctc_loss" else PROBABILITIES | SCORES
        if made is None or flow[made].function not in read:
            continue
        scores = made if flow[made].function in SCORES else flow.argument(made)
        if scores is None or _read_beside(flow, index, scores) or _weighed(flow, index):
            continue
        meant = (trace.conditions.loss or 0.0) >= 0
        if made == scores:  # of a fixed direction (a cosine) there is a least value
            meant = not flow.trainable(flow[made].parameters)
        if not meant:
            return flow[index], flow[made]
    return None


def _read_beside(flow: Dataflow, index: int, scores: int) -> bool:
    """Whether the loss reads these scores, or those of the same layer, in another way too."""
    layer = flow[scores].parameters
    same = {scores} | {i for i in flow.to_loss if layer and flow[i].parameters == layer}
    behind, made = flow.descendants([index]), flow.argument(index)
    readers = (flow.descendants(same) & flow.to_loss) - behind - same - {made}
    return any(flow[reader].function not in VIEWS for reader in readers)


def _weighed(flow: Dataflow, index: int) -> bool:
    """Whether each sample's share of the loss is multiplied by a number of its own."""
    behind = flow.descendants([index])
    return any(
        maker not in behind and max(shape, default=1) > 1
        for i in behind & flow.to_loss - {index}
        if flow[i].function in SCALINGS
        for maker, shape in zip(flow[i].inputs, flow[i].input_shapes, strict=False)
    )
