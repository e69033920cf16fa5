"""UV605 stuck-saddle: zero times zero, or a gate that is shut for good."""

from collections.abc import Iterable
from dataclasses import dataclass

from unvanish.cards import Card
from unvanish.causes.cause import Case, Cause, Expected, Finding, found
from unvanish.causes.dataflow import SCALINGS, VIEWS, Dataflow
from unvanish.probe.flow import NORMALIZING, WEIGHTED
from unvanish.trace import Operation, Parameter, Trace

CARD = Card(
    code="UV605",
    name="stuck-saddle",
    title="factors that are zero together hold each other at zero",
    says="{where} is stuck at zero: {detail}. {tensors:.0f} trainable tensors have a gradient of "
    "exactly zero, and still after {steps:.0f} steps on a copy.",
    what="The gradient of a product's factor is multiplied by the other factor. Where both are "
    "zero, or where a gate of zero has slope zero (ReLU, |g|, g squared), no gradient is left for "
    "either.",
    hurts="This part adds nothing and never will; the rest of the model trains around it.",
    apart="One factor of zero is good practice: a zero head, a zero last layer of a branch or LoRA's "
    "B = 0 wake up at the first step and are listed as expected. Named is only what is zero by its "
    "structure and still gets exactly zero after real steps on a copy. Where no other way "
    "leads around the zeros the layers are symmetric-init.",
    do="Start one of the factors at random (LoRA: A random, B zero), or the gate slightly open.",
    reference="Hu et al. 2021, arXiv:2106.09685, section 4.1; Zhang, Dauphin, Ma 2019, "
    "arXiv:1901.09321 (zero-initialised branches)",
)

REMEDIES = ("wake-one-factor",)
UNBIASED = frozenset("matmul mm bmm einsum".split())
STEPS = 5
"""Zeros in series wake up one a step: head, gate, modulation, then what they cover."""


@dataclass(frozen=True, slots=True)
class Knot:
    """Parameters that hold each other at zero, the operation where they meet, and how."""

    parameters: tuple[str, ...]
    operation: int
    reason: str


def find(case: Case) -> Iterable[Finding | Expected]:
    """Knots that real steps do not untie; sleepers that they wake."""
    flow = Dataflow(case.trace)
    held, later = stuck_knots(case, flow)
    if held and later is not None:
        roots = list(dict.fromkeys(name for knot in held for name in knot.parameters))
        behind = {n for knot in held for n in flow.leaves(knot.operation)}
        names = [*roots, *(p.name for p in _zeros(case.trace) if p.name in behind)]
        names = [name for name in names if later.parameter(name).state == "zero"]
        evidence = {"tensors": float(len(set(names))), "steps": float(STEPS)}
        yield found(CARD, "broken", names, evidence, REMEDIES, detail=held[0].reason)
    yield from _sleepers(case, flow)


def stuck_knots(case: Case, flow: Dataflow) -> tuple[list[Knot], Trace | None]:
    """The knots whose parameters still get exactly zero after steps on a copy, and its trace."""
    knots = [knot for knot in _knots(flow, case.trace) if can_move(case, knot.parameters)]
    if not knots:
        return [], None
    later = case.laboratory.after_steps(STEPS)
    if later is None:
        return [], None
    return [
        knot for knot in knots if all(later.parameter(n).state == "zero" for n in knot.parameters)
    ], later


def can_move(case: Case, names: Iterable[str]) -> bool:
    """Whether the optimizer would move these parameters if they got a gradient."""
    if case.optimizer is None:
        return True
    groups = [case.optimizer.group_of(name) for name in names]
    return all(group is not None and group.lr != 0 for group in groups)


def _zeros(trace: Trace) -> list[Parameter]:
    return [p for p in trace.parameters if p.state == "zero"]


def _adds_bias(operation: Operation) -> bool:
    """Whether one of its parameters may be a bias, which multiplies nothing."""
    return operation.function not in SCALINGS | UNBIASED


def factors(flow: Dataflow, index: int) -> set[str]:
    """The parameters that the signal is multiplied by here, or zeros made of them; no biases."""
    operation = flow[index]
    if operation.function in NORMALIZING:
        return set(operation.parameters[:1])
    if operation.function not in SCALINGS | WEIGHTED:
        return set()
    biased = _adds_bias(operation)
    names = {n for n in operation.parameters if not biased or flow.dimensions.get(n, 0) >= 2}
    made = operation.inputs[:2] if biased else operation.inputs
    blank = (m for m in made if m is not None and not flow[m].from_data and flow.is_zero(m))
    return names.union(*(flow.leaves(m) for m in blank))


def _knots(flow: Dataflow, trace: Trace) -> Iterable[Knot]:
    zero = {p.name for p in _zeros(trace)}
    empty = {p.name for p in _zeros(trace) if p.weight_norm == 0}
    holders = {i: names for i in flow.to_loss if (names := empty & factors(flow, i))}
    for index in sorted(flow.to_loss):
        operands = _empty_operands(flow, index, holders, empty)
        if len(operands) > 1 and all(operands):
            mine = set[str]().union(*operands)
            blocked = {i for i, names in holders.items() if names & mine}
            if _has_way_around(flow, blocked) or _modulated(flow, index):
                yield Knot(tuple(sorted(mine)), index, "both factors of a product are zero")
        gates = _shut_gates(flow, index, zero)
        if gates:
            yield Knot(gates, index, "a gate of zero whose slope is zero covers it")


def _empty_operands(
    flow: Dataflow, index: int, holders: dict[int, set[str]], empty: set[str]
) -> list[set[str]]:
    """For every operand of a product the zero parameters that make it zero (none: it is not)."""
    operation = flow[index]
    if operation.function not in SCALINGS | WEIGHTED:
        return []
    found: list[set[str]] = []
    for maker in operation.inputs[:2]:
        if maker is None:
            continue
        blank = flow.is_zero(maker)
        if flow[maker].from_data:
            found.append(_factors_behind(flow, maker, holders) if blank else set())
        else:
            found.append(empty & flow.leaves(maker) if blank else set())
    biased = _adds_bias(operation)
    direct = [n for n in operation.parameters if not biased or flow.dimensions.get(n, 0) != 1]
    found += [{name} & empty for name in direct[: 2 - len(found)]]
    return found


def _factors_behind(flow: Dataflow, index: int, holders: dict[int, set[str]]) -> set[str]:
    """Zero factors on the way to a signal that is all zero, back to where it is not."""
    found: set[str] = set()
    pending, seen = [index], {index}
    while pending:
        current = pending.pop()
        found |= holders.get(current, set())
        for maker in flow.signals(current):
            if maker not in seen and flow.is_zero(maker):
                seen.add(maker)
                pending.append(maker)
    return found


def _modulated(flow: Dataflow, index: int) -> bool:
    """Whether one of the zero factors multiplies a signal that is not zero.

    Layers that are zero one behind the other have equal units, which says more.
    """
    pending, seen = [m for m in flow.signals(index) if flow.is_zero(m)], set[int]()
    while pending:
        current = pending.pop()
        seen.add(current)
        makers = flow.signals(current)
        blank = [m for m in makers if flow.is_zero(m)]
        if flow[current].function in SCALINGS and len(blank) < len(makers) > 1:
            return True
        pending += [m for m in blank if m not in seen]
    return False


def _shut_gates(flow: Dataflow, index: int, zero: set[str]) -> tuple[str, ...]:
    """Parameters that were made into an exact zero and get no gradient: a gate that stays shut."""
    names = _shut(flow, index)
    return tuple(sorted(names)) if names and names <= zero else ()


def _shut(flow: Dataflow, index: int) -> set[str]:
    """Parameters that were made into an exact zero, which a signal is multiplied by here."""
    if flow[index].function not in SCALINGS | WEIGHTED or not flow.signals(index):
        return set()
    names: set[str] = set()
    for maker in flow[index].inputs:
        made = flow.before(maker, VIEWS)
        if made is None or flow[made].from_data or not flow.is_zero(made):
            continue
        names |= flow.leaves(made)
    return names


def _has_way_around(flow: Dataflow, blocked: set[int]) -> bool:
    """Whether data reaches the loss past these operations."""
    pending = [i for i in flow.to_loss - blocked if flow[i].inside and _takes_batch(flow, i)]
    seen = set(pending)
    while pending:
        index = pending.pop()
        if not flow.consumers.get(index):
            return True
        for reader in flow.consumers[index]:
            if reader in flow.to_loss and reader not in seen | blocked:
                seen.add(reader)
                pending.append(reader)
    return False


def _takes_batch(flow: Dataflow, index: int) -> bool:
    """Whether something of the batch itself, as far as its shape tells, enters here."""
    operation = flow[index]
    if not operation.from_data or operation.function in NORMALIZING:
        return False
    entering = zip(operation.inputs, operation.input_shapes, strict=False)
    size = flow.batch_size
    held = len(operation.parameters)
    unknown = [shape for maker, shape in entering if maker is None]
    return len(unknown) > held and any(shape and shape[0] == size for shape in unknown)


def _sleepers(case: Case, flow: Dataflow) -> Iterable[Expected]:
    """Zero gradients behind one factor of zero, gone after steps on a copy."""
    zero = {p.name for p in _zeros(case.trace)}
    empty = {p.name for p in case.trace.parameters if p.weight_norm == 0 and p.state != "frozen"}
    covered: set[str] = set()
    covers: set[str] = set()
    for index in flow.to_loss:
        mine = empty & {*factors(flow, index), *_shut(flow, index)}
        for maker in flow.signals(index) if mine else ():
            behind = zero & flow.leaves(maker) - mine
            covered |= behind
            covers |= mine if behind else set()
    later = case.laboratory.after_steps(STEPS) if covered else None
    if later is None:
        return
    awake = sorted(name for name in covered if later.parameter(name).state == "reached")
    if awake:
        yield Expected(
            name="asleep-at-step-0",
            where=tuple(awake),
            because="their gradient is multiplied by a weight that starts at zero "
            f"({', '.join(sorted(covers)[:3])}) and arrives after {STEPS} steps on a copy",
            unless="that weight stays at zero",
            evidence={"tensors": float(len(awake)), "steps": float(STEPS)},
        )


CAUSE = Cause(card=CARD, find=find, exact=True, explains=("dead-units",))
