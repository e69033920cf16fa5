"""Batch norm by what it does, however it is written: one scale for all samples, taken from them."""

import math

from unvanish.causes.dataflow import SCALINGS, Dataflow

DIVIDING = frozenset("div idiv itruediv truediv true_divide divide addcdiv".split())
SCALING = SCALINGS | DIVIDING | {"addcmul"}
INVERTING = DIVIDING | frozenset("rdiv rtruediv rsqrt reciprocal pow float_power".split())


def batch_norms(flow: Dataflow) -> list[int]:
    """Operations that divide a signal, feature by feature, by what its batch has in common.

    Such a factor came from the batch and yet has no entry of its own for a sample: it can only be a
    statistic over the samples. One number for the whole tensor (a standardised input) is none: it
    turns no direction. Running averages are none either: they couple no samples.
    """
    return [
        index
        for index in sorted(flow.to_loss)
        if flow[index].function == "batch_norm"
        or any(_is_inverse(flow, index, place) for place in _shared(flow, index))
    ]


def _shared(flow: Dataflow, index: int) -> list[int]:
    """Places of the arguments that are from the batch, one for all samples, not one for all features."""
    operation = flow[index]
    axis = _batch_axis(flow, operation.output_shape)
    if axis is None or operation.function not in SCALING:
        return []
    behind = len(operation.output_shape) - axis
    found: list[int] = []
    for place, shape in enumerate(operation.input_shapes):
        maker = operation.inputs[place]
        samples = shape[-behind] if len(shape) >= behind else 1
        if maker is not None and flow[maker].from_data and samples == 1 and math.prod(shape) > 1:
            found.append(place)
    return found


def _batch_axis(flow: Dataflow, shape: tuple[int, ...]) -> int | None:
    """Where the samples of a tensor are: in front (alone or with places), or behind time."""
    size = flow.batch_size
    if not size or size < 2 or len(shape) < 2:
        return None
    if shape[0] and shape[0] % size == 0:
        return 0
    return 1 if shape[0] > 1 and shape[1] == size and len(shape) > 2 else None


def _is_inverse(flow: Dataflow, index: int, place: int) -> bool:
    """Whether the argument divides: as it is, or because it was inverted on its way here.

    Followed back to where it was taken from the samples: what has more entries is the samples.
    """
    if place > 0 and flow[index].function in DIVIDING:
        return True
    most = math.prod(flow[index].input_shapes[place])
    pending = [flow[index].inputs[place]]
    seen: set[int] = set()
    while pending:
        maker = pending.pop()
        if maker is None or maker in seen or not flow[maker].from_data:
            continue
        seen.add(maker)
        if math.prod(flow[maker].output_shape) > most:
            continue
        if flow[maker].function in INVERTING:
            return True
        pending += flow[maker].inputs
    return False
