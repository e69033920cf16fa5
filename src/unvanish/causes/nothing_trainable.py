"""UV607 nothing-trainable: everything that should train is frozen."""

from collections.abc import Iterable

from unvanish.cards import Card
from unvanish.causes.cause import Case, Cause, Expected, Finding, found
from unvanish.trace import Parameter

CARD = Card(
    code="UV607",
    name="nothing-trainable",
    title="what should train requires no grad",
    says="{detail} is frozen: none of its {tensors:.0f} tensors (first {where}) requires grad.",
    what="requires_grad is False for every parameter of the model, or for every parameter of an "
    "adapter that was added to be trained.",
    hurts="No step changes them. The loss either cannot be differentiated at all, or only what is "
    "left (a head) trains.",
    apart="Read from requires_grad. A frozen backbone under a trained head is what people want. A "
    "frozen adapter is named where it still adds exactly nothing (its last factor is zero), "
    "so that it cannot have been trained before; one that was is a note. A frozen model that is "
    "called with a tensor that trains itself (an image, a prompt) is expected.",
    do="Unfreeze what should train after everything else was frozen, and check with sum(p.numel() "
    "for p in model.parameters() if p.requires_grad).",
    reference="torch documentation, autograd mechanics: setting requires_grad",
)

REMEDIES = ("unfreeze",)
ADAPTERS = ("lora", "adapter", "prompt_encoder", "ia3")
"""What peft and its kin call the parts that they add."""


def find(case: Case) -> Iterable[Finding | Expected]:
    """A model, or the adapter in it, without anything that trains."""
    parameters = case.trace.parameters
    if not parameters:
        return
    if all(p.state == "frozen" for p in parameters):
        yield _trains_its_input(case) or _found("broken", parameters, "the whole model")
        return
    adapter = [p for p in parameters if p.to_loss and _is_adapter(p)]
    if adapter and all(p.state == "frozen" for p in adapter):
        asleep = any(p.weight_norm == 0 and len(p.shape) > 1 for p in adapter)
        yield _found("broken" if asleep else "note", adapter, "the adapter")


def _trains_its_input(case: Case) -> Expected | None:
    """Where what the model is called with is what trains: style transfer, a prompt, an inversion."""
    if not any(s.owner == "given" and s.gradient_norm for s in case.trace.strangers):
        return None
    return Expected(
        name="frozen-by-you",
        where=tuple(p.name for p in case.trace.parameters),
        because="the whole model is frozen, and what it is called with requires grad: an image or a "
        "prompt is fitted to it",
        unless="the model should train",
    )


def _is_adapter(parameter: Parameter) -> bool:
    return any(
        part in piece.lower()
        for name in parameter.names
        for piece in name.split(".")
        for part in ADAPTERS
    )


def _found(severity: str, frozen: Iterable[Parameter], what: str) -> Finding:
    names = [p.name for p in frozen]
    evidence = {"tensors": float(len(names))}
    return found(CARD, severity, names, evidence, REMEDIES, detail=what)


CAUSE = Cause(card=CARD, find=find, exact=True)
