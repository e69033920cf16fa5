"""Records read off the value flow: activations with their neighbours, cuts, first bad values."""

import math
from collections.abc import Iterable

from unvanish.probe.activations import ActivationCall, ActivationReader
from unvanish.probe.flow import (
    MULTIPLYING,
    NORMALIZING,
    REENTRANT,
    SHAPED_AFTER,
    WEIGHTED,
    Flow,
)
from unvanish.probe.functions import LIMITING
from unvanish.trace import Activation, Cut


def activation_readings(reader: ActivationReader, flow: Flow) -> tuple[Activation, ...]:
    """One record for every activation call, with what feeds it and what it feeds.

    A clamp is an activation where it reads what a weight made; elsewhere it keeps data, a share
    or a norm within bounds that they may well stand at.
    """
    consumers = flow.consumers()
    near_loss = _near_loss(flow)
    sites = [site for site in reader.sites.values() if not _only_bounds(flow, site.flow_call)]
    return tuple(_activation(site, flow, consumers, near_loss) for site in sites)


_BETWEEN = (
    NORMALIZING
    | MULTIPLYING
    | frozenset(
        "add iadd radd sub isub rsub imul rmul div idiv truediv itruediv view reshape flatten "
        "unflatten transpose permute squeeze unsqueeze contiguous clone float half bfloat16 double "
        "to type getitem dropout".split()
    )
)
"""What may stand between a weight and the activation that reads it."""


def _only_bounds(flow: Flow, index: int) -> bool:
    """Whether this call is a clamp and what it reads is no pre-activation."""
    if index >= len(flow.calls) or flow.calls[index].function not in LIMITING:
        return False
    current = flow.calls[index]
    if not current.grad_out:
        return True
    while current.inputs:
        current = flow.calls[current.inputs[0]]
        if current.function in WEIGHTED:
            return False
        if current.function not in _BETWEEN:
            break
    return True


def _activation(
    site: ActivationCall, flow: Flow, consumers: dict[int, list[int]], near_loss: set[int]
) -> Activation:
    batches = site.batches
    alive = site.alive
    dead = int((~alive).sum()) if alive is not None else None
    units = alive.numel() if alive is not None else None
    slope = site.derivative_square
    known = site.flow_call < len(flow.calls)
    return Activation(
        module=site.module,
        call=site.call,
        function=site.function,
        input_rms=math.sqrt(site.input_square / batches),
        input_mean=site.input_sum / batches,
        output_rms=math.sqrt(site.output_square / batches),
        derivative_rms=None if slope is None else math.sqrt(slope / batches),
        saturated_share=None if site.saturated is None else site.saturated / batches,
        dead_share=dead / units if dead is not None and units else None,
        dead_units=dead,
        units=units,
        elements=site.elements,
        fed_by=_fed_by(flow, site.flow_call) if known else None,
        gate=known and _is_gate(flow, consumers, site.flow_call),
        feeds_loss=site.flow_call in near_loss,
        histogram=site.counts,
    )


def _fed_by(flow: Flow, index: int) -> str | None:
    """Module path of the nearest weighted op before this call, through norms and views."""
    current = index
    while flow.calls[current].inputs:
        current = flow.calls[current].inputs[0]
        if flow.calls[current].function in WEIGHTED:
            return flow.calls[current].module
    return None


def _is_gate(flow: Flow, consumers: dict[int, list[int]], index: int) -> bool:
    """Whether the output multiplies another signal, directly or through views."""
    pending, seen = list(consumers.get(index, ())), set[int]()
    while pending:
        current = pending.pop()
        if current in seen:
            continue
        seen.add(current)
        call = flow.calls[current]
        if call.function in MULTIPLYING and len(call.inputs) > 1:
            return True
        if call.function not in WEIGHTED and len(call.inputs) == 1 and not call.leaves:
            pending += consumers.get(current, ())
    return False


def _near_loss(flow: Flow) -> set[int]:
    """Calls from which the loss is reached without passing a weight or a norm."""
    if flow.loss_call is None:
        return set()
    seen = {flow.loss_call}
    pending = [flow.loss_call]
    while pending:
        for source in flow.calls[pending.pop()].inputs:
            if source not in seen and flow.calls[source].function not in WEIGHTED | NORMALIZING:
                seen.add(source)
                pending.append(source)
    return seen


def find_cuts(flow: Flow, unreached: set[str]) -> tuple[Cut, ...]:
    """Where values of parameters without gradient went on and their gradient did not."""
    if not unreached:
        return ()
    carried = _carried_parameters(flow, unreached)
    to_loss = flow.ancestors([flow.loss_call]) if flow.loss_call is not None else set[int]()
    cuts = [
        Cut(
            operation=_cut_name(flow, index),
            module=call.module,
            parameters=tuple(sorted(carried[index])),
            to_loss=index in to_loss,
        )
        for index, call in enumerate(flow.calls)
        if carried[index] and not call.grad_out and _had_gradient(flow, index)
    ]
    left = sum(one.values for one in flow.exits if carried[one.source])
    for one in flow.exits:
        if carried[one.source]:
            cuts.append(
                Cut(
                    operation=one.operation,
                    module=one.module,
                    parameters=tuple(sorted(carried[one.source])),
                    to_loss=_reenters(flow, one.source, to_loss, left),
                )
            )
    return tuple(dict.fromkeys(cuts))  # a loop over numbers leaves at each of them


def _carried_parameters(flow: Flow, wanted: set[str]) -> list[set[str]]:
    carried: list[set[str]] = []
    for call in flow.calls:
        mine = {leaf for leaf in call.leaves if leaf in wanted}
        for source in call.inputs:
            mine |= carried[source]
        carried.append(set() if call.function in SHAPED_AFTER else mine)
    return carried


def _had_gradient(flow: Flow, index: int) -> bool:
    """Whether this call is the first without gradient on its way."""
    call = flow.calls[index]
    return call.grad_in or bool(call.leaves and not call.inputs)


def _cut_name(flow: Flow, index: int) -> str:
    if flow.calls[index].checkpointed:
        return REENTRANT
    name = flow.calls[index].function
    stops = (
        "detach",
        "data",
        "argmax",
        "argmin",
        "round",
        "long",
        "int",
        "topk",
        "sort",
        "to",
        "gt",
        "lt",
        *_MAKERS,
    )
    return name if name in stops else f"{name} under no_grad"


def _reenters(flow: Flow, index: int, to_loss: Iterable[int], left: int) -> bool:
    """Whether a tensor made from plain numbers after this exit flows into the loss.

    It cannot hold more numbers than the ``left`` ones: constants usually do.
    """
    for call in (flow.calls[i] for i in to_loss if i > index):
        # torch.from_numpy and its like are not seen: what they made comes from nowhere.
        if call.foreign and any(math.prod(shape) <= left for shape in call.input_shapes):
            return True
        if call.made and call.function in _MAKERS and math.prod(call.output_shape) <= left:
            return True
    return False


_MAKERS = frozenset(("tensor", "as_tensor", "asarray", "full"))
