"""The derivative of a derivative through functions that are made of straight pieces: it is zero."""

from dataclasses import dataclass

from unvanish.causes.dataflow import SCALINGS, SUMS, VIEWS, Dataflow
from unvanish.probe.flow import SHAPED_AFTER, WEIGHTED
from unvanish.trace import Trace

STRAIGHT = frozenset("relu leaky_relu prelu rrelu relu6 hardtanh threshold".split())
LINEAR = (
    VIEWS
    | SUMS
    | WEIGHTED
    | SHAPED_AFTER
    | frozenset("grad requires_grad sum mean cat stack hstack".split())
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Straight:
    """The functions of straight pieces that were derived twice, and the modules they are in."""

    functions: tuple[str, ...]
    modules: tuple[str, ...]


def straight_derivative(trace: Trace) -> Straight | None:
    """What makes a second derivative that the loss asks for exactly zero on every sample.

    A net of straight pieces has a slope and no curvature, whatever its weights are: a differential
    equation of second order trains nothing of it. Another function on the way, or a factor that the
    output is multiplied by, may give a curvature of its own, at other weights if not at these (a head
    that starts at zero), and nothing is said.
    """
    if not any(operation.function == "grad" for operation in trace.operations):
        return None
    flow = Dataflow(trace)
    for index in sorted(flow.to_loss & flow.trained):
        if flow[index].function != "grad" or flow[index].output_rms != 0:
            continue
        behind = flow.ancestors([index]) - {index}
        if not all(_straight(flow, i) for i in behind):
            continue
        bends = [flow[i] for i in sorted(behind) if flow[i].function in STRAIGHT]
        if bends and any(flow[i].function == "grad" and flow[i].output_rms for i in behind):
            return Straight(
                functions=tuple(dict.fromkeys(op.function for op in bends)),
                modules=tuple(dict.fromkeys(op.module for op in bends)),
            )
    return None


def _straight(flow: Dataflow, index: int) -> bool:
    """Whether it is made of straight pieces whatever the weights are: no product of two signals."""
    function = flow[index].function
    if function in SCALINGS:
        return len(flow.signals(index)) < 2 and function not in ("rdiv", "rtruediv")
    return function in STRAIGHT | LINEAR
