"""Zeros written over everything on the only way: a mask that keeps nothing, ``zero_``, ``x[:] = 0``.

Autograd goes through such an operation and hands on the derivative of a constant, which is zero.
"""

from dataclasses import dataclass

from unvanish.causes.closed_limits import CHOICES, chosen_by_itself
from unvanish.causes.dataflow import Dataflow
from unvanish.probe.flow import WEIGHTED
from unvanish.trace import Trace

WRITING = frozenset(
    "zero fill setitem masked_fill masked_scatter index_fill index_put index_copy scatter copy "
    "where mul multiply imul rmul".split()
)
"""Functions that can put zeros in the place of what they are given, whatever it was."""

COMPARED = frozenset(name for names in CHOICES.values() for name in names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Zeroed:
    """An operation whose result is all zeros though its input is not, and what gets nothing for it."""

    function: str
    module: str
    parameters: tuple[str, ...]


def zeroed(trace: Trace) -> list[Zeroed]:
    """Such operations of the model that nothing of the data gets around on its way to the loss.

    With a way around it may be meant: a branch that is left out this time, an expert that nothing
    was sent to, a condition that is dropped. So may zeros that no weight reads any more (a loss
    without labels in this batch) or that something which trains made (a gate that starts at zero).
    """
    if not any(p.state == "zero" for p in trace.parameters):
        return []
    flow = Dataflow(trace)
    layers = [i for i in flow.to_loss if flow[i].parameters]
    read = flow.ancestors(m for i in layers for m in flow[i].inputs if m is not None)
    found: list[Zeroed] = []
    for index in sorted(read & flow.trained):
        if _writes_zeros(flow, index) and _all_through(flow, index):
            lost = sorted(name for name in flow.leaves(index) if flow.trainable([name]))
            if all(flow.states[name] == "zero" for name in lost):
                operation = flow[index]
                found.append(
                    Zeroed(
                        function=operation.function, module=operation.module, parameters=tuple(lost)
                    )
                )
    return found


def _writes_zeros(flow: Dataflow, index: int) -> bool:
    """Whether zeros come out that did not come in, from constants alone."""
    operation = flow[index]
    if operation.function not in WRITING or not operation.inside or operation.output_rms != 0:
        return False
    if operation.function in COMPARED and chosen_by_itself(flow, index):
        return False  # a rectifier written by hand: dead-units says more
    sources = [m for m in operation.inputs if m is not None and m in flow.trained]
    if operation.parameters or len(sources) != 1 or sources[0] not in flow.signals(index):
        return False  # a gate that is zero trains
    return not flow.is_zero(sources[0])


def _all_through(flow: Dataflow, index: int) -> bool:
    """Whether all that reaches the loss from the data comes through here."""
    behind = flow.descendants([index])
    ends = [i for i in flow.to_loss if flow.to_loss.isdisjoint(flow.consumers.get(i, ()))]
    return not any(
        flow[i].inside
        and flow[i].from_data
        and i not in behind
        and (i in flow.trained or flow[i].function in WEIGHTED)
        for i in flow.ancestors(ends, around=index)
    )
