"""UV603 not-in-optimizer: the gradient arrives, but nothing steps with it."""

from collections.abc import Iterable, Iterator

from unvanish.cards import Card
from unvanish.causes.cause import Case, Cause, Expected, Finding, found
from unvanish.training.optimizer import OptimizerReading, ParameterGroup
from unvanish.training.record import LoopRecord

CARD = Card(
    code="UV603",
    name="not-in-optimizer",
    title="parameters get a gradient that no optimizer step uses",
    says="{tensors:.0f} trainable tensors (first {where}) {detail}.",
    what="An optimizer steps only the tensors that it was given when it was made, each by the "
    "learning rate of its group.",
    hurts="Tensors in no group, or in one with learning rate zero, keep their values although their "
    "gradients look healthy (they even add up, as zero_grad passes them by). A tensor that is "
    "listed twice is stepped twice.",
    apart="Read from the optimizer that was passed: its groups against the model's trainable "
    "parameters that the gradient reaches. A learning rate of zero under a scheduler (the group "
    "has an initial_lr above zero) is expected: a warm-up before the first step, a schedule that "
    "stands at zero after some. Tensors of other models in the "
    "groups are no fault, nor is what another optimizer of the given step holds. What only the loss "
    "reads, parameters of its own or tensors that the model keeps without registering them, is a "
    "note. Where the model is never called itself, only the networks in it one by one (a GAN's "
    "players, an actor and its critic), a network that is left out whole is a note.",
    do="Build the optimizer from model.parameters() after the model is complete and on its device; "
    "where groups are made by name, check that they add up to all parameters. Keep what a "
    "loss learns in an nn.Parameter. Freeze what is meant to stand still.",
    reference="torch.optim: constructing it, per-parameter options",
    clear="all of the {trainable:.0f} tensors that the gradient reaches are stepped, in {groups:.0f} "
    "parameter groups",
)

REMEDIES = ("complete-optimizer",)
LONGEST_ACCUMULATION = 128
"""Backward calls from one step of the optimizer to the next that somebody may have meant."""


def find(case: Case) -> Iterable[Finding | Expected]:
    """Missing, standing and doubled parameters; groups that a scheduler holds at zero."""
    if case.optimizer is None:
        return
    reached = [p.names for p in case.trace.parameters if p.state not in ("frozen", "none")]
    names = {name for every in reached for name in every}
    yield from _missing(case, case.optimizer, names)
    yield from _of_loss(case, case.optimizer)
    yield from _plain(case, case.optimizer)
    still = [g for g in case.optimizer.groups if g.lr == 0 and g.parameters]
    waiting = [g for g in still if g.scheduled]
    standing = [n for g in still if not g.scheduled for n in g.parameters if n in names]
    loop = case.laboratory.loop()
    if loop is not None:
        yield from _in_vain(loop, [n for g in case.optimizer.groups for n in g.parameters])
    if standing:
        yield _found("broken", standing, "are in a parameter group with learning rate 0")
    doubled = [name for name in case.optimizer.duplicated if name in names]
    if doubled:
        yield _found("harmful", doubled, "are listed twice in the optimizer and stepped twice")
    if waiting:
        yield _at_zero(waiting, case.laboratory.stepped)


def _in_vain(loop: LoopRecord, held: list[str]) -> Iterator[Finding]:
    """What the training step does with gradients of the optimizer's tensors, and never steps by them."""
    by_others = not loop.moved.isdisjoint(held)  # by a method of another name, or by hand
    if loop.unused >= LONGEST_ACCUMULATION and not loop.steps and not by_others:
        said = f"are never stepped: step was called {loop.calls} times, the optimizer's step never"
        yield _found("broken", held, said)
    taken = [step for step in loop.steps if not step.skipped]
    # Zeros that are still there let weight decay and momentum move what no gradient does.
    zeros = any(not set(step.reached).isdisjoint(held) for step in taken)
    if taken and all(step.cleared for step in taken) and (zeros or not by_others):
        said = (
            "are never stepped by their gradient: it is cleared between backward and step, and "
            "zero_grad belongs in front of backward"
        )
        yield _found("broken", held, said, remedies=())


def _at_zero(waiting: list[ParameterGroup], stepped: bool) -> Expected:
    """Groups that a scheduler holds at rate zero: before the first step that is a warm-up.

    Later a schedule is at its end or between two of its rounds, and nobody but its author can say
    whether training was to go on.
    """
    names = tuple(name for group in waiting for name in group.parameters)
    if stepped:
        scaled = max(g.initial_lr or 0.0 for g in waiting)
        return Expected(
            name="schedule-at-zero",
            where=names,
            because="the learning rate is 0 now, steps were taken before, and a scheduler that "
            f"scales {scaled:.3g} has set it so: the weights do not move",
            unless="training is to go on: then the schedule ends too early, or is never stepped",
        )
    return Expected(
        name="warm-up-step",
        where=names,
        because="the learning rate is 0 now, and a scheduler will set it to a share of "
        f"{max(g.initial_lr or 0.0 for g in waiting):.3g}",
        unless="the scheduler is never stepped, or training is over",
    )


def _missing(
    case: Case, optimizer: OptimizerReading, reached: set[str]
) -> Iterator[Finding | Expected]:
    """Parameters in no group of the optimizer, by whether something else steps them."""
    loop = case.laboratory.loop()
    wrong = loop is not None and _steps_anothers(loop, optimizer)
    if loop is not None and wrong:  # what is judged is a later turn than that of the trace
        reached = reached.union(*(step.reached for step in loop.steps))
    missing = [name for name in optimizer.missing if name in reached]
    elsewhere = [name for name in missing if name in optimizer.elsewhere]
    if elsewhere:
        yield Expected(
            name="in-another-optimizer",
            where=tuple(elsewhere),
            because="another optimizer that this training step uses holds them",
            unless="its step is never called",
        )
    missing = [name for name in missing if name not in elsewhere]
    if not missing:
        return
    said = "are in no parameter group of the optimizer"
    if optimizer.foreign:
        said += f", which holds {optimizer.foreign} tensors that are not this model's"
    elif wrong:
        said += ", and another optimizer of the same training step steps all that it holds"
    elif _networks_apart(case, missing):
        yield _found("note", missing, "are networks of their own that this optimizer leaves out")
        return
    yield _found("broken", missing, said)


def _steps_anothers(loop: LoopRecord, optimizer: OptimizerReading) -> bool:
    """Whether it was made over the wrong network: another optimizer steps all of the same tensors."""
    held = {name for group in optimizer.groups for name in group.parameters}
    return bool(held) and held <= loop.shared


def _of_loss(case: Case, optimizer: OptimizerReading) -> Iterator[Finding]:
    """What a loss module could learn and does not: a note, as its own optimizer may not be known."""
    reached = any(s.owner == "outside" and s.gradient_norm for s in case.trace.strangers)
    if optimizer.of_loss and reached:
        said = "belong to the loss and are in no parameter group of the optimizer"
        yield _found("note", [f"loss.{name}" for name in optimizer.of_loss], said)


def _plain(case: Case, optimizer: OptimizerReading) -> Iterator[Finding]:
    """What the model keeps as a plain tensor for its loss: a note, for the same reason."""
    reached = {s.name for s in case.trace.strangers if s.owner == "outside" and s.gradient_norm}
    names = [name for name in optimizer.plain if name in reached]
    if names:
        said = (
            "are kept by the model as plain attributes, which model.parameters() leaves out, and no "
            "optimizer that is known here holds them"
        )
        yield _found("note", names, said, remedies=())


def _networks_apart(case: Case, missing: list[str]) -> bool:
    """Whether the step calls networks that are only kept together, and this optimizer has some whole.

    The players of a GAN, an actor and its critic: each has its turn and an optimizer of its own. A
    model that is called itself is one network.
    """
    left = {*missing, *(case.optimizer.missing if case.optimizer is not None else ())}
    trained = [p.name for p in case.trace.parameters if p.state != "frozen"]
    held = {name.partition(".")[0] for name in trained if name not in left}
    left_out = {name.partition(".")[0] for name in missing}
    return not case.trace.conditions.whole and bool(held) and held.isdisjoint(left_out)


def _found(
    severity: str, names: list[str], said: str, remedies: tuple[str, ...] = REMEDIES
) -> Finding:
    return found(CARD, severity, names, {"tensors": float(len(names))}, remedies, detail=said)


def clear(case: Case) -> dict[str, float] | None:
    """How many tensors there are to step, and in how many groups."""
    if case.optimizer is None:
        return None
    trainable = sum(1 for p in case.trace.parameters if p.state not in ("frozen", "none"))
    return {"trainable": float(trainable), "groups": float(len(case.optimizer.groups))}


CAUSE = Cause(
    card=CARD, find=find, clear=clear, exact=True, explains=("step-too-small", "stuck-saddle")
)
