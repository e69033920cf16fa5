"""UV604 frozen-by-checkpoint: a reentrant checkpoint whose inputs require no grad."""

from collections.abc import Iterable

from unvanish.cards import Card
from unvanish.causes.cause import Case, Cause, Finding, found
from unvanish.probe.flow import REENTRANT

CARD = Card(
    code="UV604",
    name="frozen-by-checkpoint",
    title="checkpointing froze what it was put around",
    says="{parameters:.0f} trainable tensors from {where} on get no gradient: the reentrant "
    "checkpoint around them was given no input that requires grad.",
    what="torch's reentrant checkpoint runs its part without a graph and recomputes it in the "
    "backward pass, but only if some tensor passed to it requires grad. With frozen "
    "embeddings, or plain data, none does, and the part is left out.",
    hurts="Everything inside keeps its first values, whatever the loss says; what comes after it "
    "trains, so the loss may even fall.",
    apart="Seen in the forward pass: trainable weights used inside the checkpoint's own run, on the "
    "way to the loss, whose gradient is None. torch's warning comes also where only frozen "
    "parts are inside: then nothing is named.",
    do="Pass use_reentrant=False to checkpoint (gradient_checkpointing_kwargs in transformers), or "
    "make the inputs require grad (model.enable_input_require_grads()).",
    reference="torch.utils.checkpoint: differences between the reentrant and the non-reentrant "
    "implementation",
)

REMEDIES = ("non-reentrant",)


def find(case: Case) -> Iterable[Finding]:
    """Trainable parameters that only a reentrant checkpoint keeps from their gradient."""
    cuts = [cut for cut in case.trace.cuts if cut.to_loss and cut.operation == REENTRANT]
    names = list(dict.fromkeys(name for cut in cuts for name in cut.parameters))
    if names:
        places = [cut.module or "(model)" for cut in cuts]
        evidence = {"parameters": float(len(names))}
        yield found(CARD, "broken", [*places, *names], evidence, REMEDIES)


CAUSE = Cause(card=CARD, find=find, exact=True, explains=("detached",))
