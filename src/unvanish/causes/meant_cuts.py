"""Cuts that are meant: averaged copies of what trains, and parts that another step trains."""

from collections.abc import Iterable

from unvanish.causes.cause import Case, Expected
from unvanish.causes.dataflow import Dataflow
from unvanish.causes.level import REGRESSION
from unvanish.probe.flow import REENTRANT
from unvanish.trace import Parameter, Trace

COMPARING = REGRESSION | frozenset(
    "kl_div cross_entropy binary_cross_entropy binary_cross_entropy_with_logits".split()
)
"""Losses that take what is judged first and what it ought to be second."""


def meant_cuts(case: Case) -> list[Expected]:
    """What is cut off from the loss by intent, of the parameters that no gradient reaches."""
    cut = _cut_off(case.trace)
    later = reached_later(case, cut)
    apart = _left_out(case, {n: p for n, p in cut.items() if n not in later})
    left = {n: p for n, p in cut.items() if n not in (*later, *apart)}
    # A copy of what nobody steps is none: its original stands in the graph in its place.
    copied = _copies(case.trace, left) if _steps_any(case) else []
    meant: list[Expected] = []
    if later:
        meant.append(
            Expected(
                name="trained-by-another-loss",
                where=tuple(later),
                because="their gradient is cut off in this loss, and another backward call of the "
                "same training step reaches them: a generator's turn after its critic's",
                unless="this loss should train them too",
            )
        )
    if apart:
        meant.append(
            Expected(
                name="trained-by-another-step",
                where=tuple(apart),
                because="their gradient is cut off, and the optimizer that was given does not hold "
                "them: they are not what this step trains",
                unless="this step should train them",
            )
        )
    if copied:
        meant.append(
            Expected(
                name="copy-of-what-trains",
                where=tuple(copied),
                because="their gradient is cut off, and they are beside their originals, value for "
                "value copies of parameters that train: a teacher or target network",
                unless="nothing ever brings them up to date",
            )
        )
    return meant


def _cut_off(trace: Trace) -> dict[str, Parameter]:
    """The parameters behind a cut, by name; a checkpoint is no way of saying that it is meant."""
    names = {
        name
        for cut in trace.cuts
        if cut.to_loss and cut.operation != REENTRANT
        for name in cut.parameters
    }
    return {p.name: p for p in trace.parameters if p.state == "none" and p.name in names}


def reached_later(case: Case, cut: dict[str, Parameter]) -> list[str]:
    """Those that an optimizer step of the user's own training step has a gradient for all the same."""
    loop = case.laboratory.loop() if cut else None
    reached = (
        {name for step in loop.steps for name in step.reached} if loop is not None else set[str]()
    )
    return [n for n, p in cut.items() if not reached.isdisjoint(p.names)]


def own_turn(trace: Trace, lost: Iterable[str]) -> bool:
    """Whether what trains is a network of its own, which also reads the batch without what is lost.

    The critic's turn of a GAN: its weights meet the generator's samples, cut off, and the data.
    Where all that a network ever sees comes through the cut (a head on a frozen-by-mistake body),
    nothing says that the cut is meant. A model that is called itself is one network.
    """
    part = set(lost)
    own = {name for p in _trained(trace) for name in p.names}
    if trace.conditions.whole or not _apart(part, own):
        return False
    flow = Dataflow(trace)
    uses = [i for i, op in enumerate(flow.operations) if not own.isdisjoint(op.parameters)]
    sources = [i for i, op in enumerate(flow.operations) if not part.isdisjoint(op.parameters)]
    behind = flow.descendants(sources)
    met = {name for i in uses if i in behind for name in flow[i].parameters if name in own}
    free = {n for i in uses if i not in behind and flow[i].from_data for n in flow[i].parameters}
    return bool(met) and met <= free


def only_targets(trace: Trace, lost: Iterable[str]) -> bool:
    """Whether what is lost is a network of its own that gives a loss its targets and nothing else.

    A teacher, a target network: what trains is compared with it and owes it nothing. Where both go
    into a product or a difference, as those of two towers do, nothing says which is the target.
    """
    part = set(lost)
    if not _apart(part, {name for p in _trained(trace) for name in p.names}):
        return False
    flow = Dataflow(trace)
    sources = [i for i, op in enumerate(flow.operations) if not part.isdisjoint(op.parameters)]
    behind = flow.descendants(sources)
    given = {i for i in behind if not flow[i].requires_grad}
    meets = [
        i
        for i in behind & flow.to_loss
        if not given.isdisjoint(flow[i].inputs)
        and any(maker in flow.trained and maker not in behind for maker in flow[i].inputs)
    ]
    compared = (flow[i].function in COMPARING and flow[i].inputs[0] not in behind for i in meets)
    return bool(meets) and all(compared)


def _apart(part: set[str], own: set[str]) -> bool:
    """Whether these parameters are in other children of the model than those."""
    roots = {name.partition(".")[0] for name in part}
    return roots.isdisjoint(name.partition(".")[0] for name in own)


def _left_out(case: Case, cut: dict[str, Parameter]) -> list[str]:
    """Those that the optimizer does not hold, if it holds others that the gradient reaches."""
    if case.optimizer is None or not _steps_any(case):
        return []
    missing = set(case.optimizer.missing)
    return [n for n, p in cut.items() if not missing.isdisjoint(p.names)]


def _steps_any(case: Case) -> bool:
    """Whether the optimizer that was given holds anything that the gradient reaches."""
    missing = set(case.optimizer.missing) if case.optimizer is not None else set[str]()
    return any(missing.isdisjoint(p.names) for p in _trained(case.trace))


def _copies(trace: Trace, cut: dict[str, Parameter]) -> list[str]:
    """Those whose whole module is a copy of one that trains, neither fed by the other.

    Equal to the last bit of their norms: draws of their own never are. Layers in a row may start as
    copies of one layer, and a cut between them is a fault: there the one feeds the other.
    """
    if not cut:
        return []
    originals: dict[tuple[tuple[int, ...], float], list[str]] = {}
    for parameter in _trained(trace):
        originals.setdefault(_likeness(parameter), []).extend(parameter.names)
    flow = Dataflow(trace)
    found: dict[str, None] = {}
    for name in cut:
        for prefix in _prefixes(name) if name not in found else ():
            part = {n: p for n, p in cut.items() if n.startswith(prefix)}
            twins = _twin_of(part, prefix, name, originals)
            if twins and _drawn(part.values()) and not _in_a_row(flow, set(part), twins):
                found |= dict.fromkeys(part)
                break
    return list(found)


def _twin_of(
    part: dict[str, Parameter],
    prefix: str,
    name: str,
    originals: dict[tuple[tuple[int, ...], float], list[str]],
) -> set[str]:
    """Names of what the part is a copy of: the same names behind another prefix, alike one by one."""
    rest = name.removeprefix(prefix)
    for original in originals.get(_likeness(part[name]), ()):
        if original != rest and not original.endswith(f".{rest}"):
            continue
        root = original.removesuffix(rest)
        pairs = {n: root + n.removeprefix(prefix) for n in part}
        if all(other in originals.get(_likeness(part[n]), ()) for n, other in pairs.items()):
            return set(pairs.values())
    return set()


def _in_a_row(flow: Dataflow, part: set[str], twins: set[str]) -> bool:
    """Whether the values of the one flow into an operation of the other."""
    uses = [
        [i for i, op in enumerate(flow.operations) if not names.isdisjoint(op.parameters)]
        for names in (part, twins)
    ]
    return any(not flow.ancestors(uses[a]).isdisjoint(uses[1 - a]) for a in (0, 1))


def _trained(trace: Trace) -> list[Parameter]:
    return [p for p in trace.parameters if p.state not in ("none", "frozen")]


def _drawn(parameters: Iterable[Parameter]) -> bool:
    """Whether there is a weight among them that was drawn by chance: constants are always alike."""
    return any(len(p.shape) > 1 and p.weight_norm and not p.equal_units for p in parameters)


def _likeness(parameter: Parameter) -> tuple[tuple[int, ...], float]:
    return parameter.shape, parameter.weight_norm


def _prefixes(name: str) -> list[str]:
    """The dotted prefixes of a name, the shortest first."""
    return [name[: i + 1] for i, letter in enumerate(name) if letter == "."]
