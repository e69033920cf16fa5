"""UV601 unregistered-module: trained-looking tensors that are no parameters of the model."""

from collections.abc import Iterable

from unvanish.cards import Card
from unvanish.causes.cause import Case, Cause, Expected, Finding, found

CARD = Card(
    code="UV601",
    name="unregistered-module",
    title="the model uses weights that it does not own",
    says="{tensors:.0f} tensors that require grad are used inside the model but are no "
    "parameters of it (first in {where}): no optimizer built from model.parameters() will "
    "ever train them.",
    what="Layers kept in a plain Python list, dict or function, or tensors that are not "
    "nn.Parameter, get gradients, but model.parameters(), .to(device), state_dict and "
    "train() pass them by.",
    hurts="They keep their random values for ever; the rest of the net trains around them.",
    apart="Decided from the graph: a leaf that requires grad, is reached from the loss, is used "
    "inside the model's own forward and is in no parameter list. Weights of the loss or "
    "of other networks used outside are expected, and so is what the optimizer that was given "
    "steps all the same.",
    do="Keep layers in nn.ModuleList, nn.ModuleDict or nn.Sequential, and tensors in nn.Parameter.",
    reference="torch.nn.ModuleList",
)

REMEDIES = ("register-modules",)


def find(case: Case) -> Iterable[Finding | Expected]:
    """Leaves inside the model that belong to no parameter list."""
    inside = [s for s in case.trace.strangers if s.owner == "unregistered"]
    stepped = case.optimizer.unregistered if case.optimizer is not None else ()
    training = [s.name for s in inside if s.name in stepped]
    if training:
        training.reverse()
        yield _stepped_all_the_same(training)
    inside = [s for s in inside if s.name not in stepped]
    if inside:
        elements = sum(_count(s.shape) for s in inside)
        evidence = {"tensors": float(len(inside)), "elements": float(elements)}
        inside.reverse()  # strangers come from the loss on
        used = [s.module or "(model)" for s in inside]
        owners = [place.partition("<")[0].rstrip(".") or "(model)" for place in used]
        held = [s.name for s in inside if s.name]
        yield found(CARD, "broken", [*held, *used, *owners], evidence, REMEDIES)


def _stepped_all_the_same(names: list[str]) -> Expected:
    return Expected(
        name="unregistered-but-stepped",
        where=tuple(dict.fromkeys(names)),
        because="they are no parameters of the model, and the optimizer was given them all the "
        "same: they train",
        unless="the model is saved, moved or switched to evaluation: state_dict, .to(device) "
        "and train() pass them by",
    )


def _count(shape: tuple[int, ...]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total


CAUSE = Cause(card=CARD, find=find, exact=True)
