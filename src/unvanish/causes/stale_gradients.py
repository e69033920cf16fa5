"""UV710 stale-gradients: the gradient of the last step is still there at the next."""

from collections.abc import Iterable

from unvanish.cards import Card
from unvanish.causes.cause import Case, Cause, Finding, found

CARD = Card(
    code="UV710",
    name="stale-gradients",
    title="gradients are not cleared between steps",
    says="Gradients are not cleared between steps: in {share:.0%} of the steps after the first, the "
    "gradient of {tensors:.0f} tensors (first {where}) still held that of the step before; after "
    "{steps:.0f} steps its norm has grown {growth:.1f} times.",
    what="backward adds to .grad. Without optimizer.zero_grad() every step uses the sum of all "
    "gradients since training began.",
    hurts="The direction is that of the past, and the step grows with the number of steps: the loss "
    "falls at first, then swings and diverges.",
    apart="The step function was run on a copy, and .grad followed from one optimizer step to the "
    "next: stale is what was used, never found empty before a backward pass, and added to. Several "
    "backward calls before one step, and gradients that another model's loss leaves and this one's "
    "zero_grad clears, are no fault.",
    do="Call optimizer.zero_grad() once before the first backward call of each step.",
    reference="torch documentation: Optimizer.zero_grad; Zeroing out gradients in PyTorch (recipe)",
    clear="the gradients of {steps:.0f} steps were cleared in between",
)

REMEDIES = ("clear-gradients",)


def find(case: Case) -> Iterable[Finding]:
    """Parameters whose gradient at a step held that of the step before."""
    loop = case.laboratory.loop()
    if loop is None or len(loop.steps) < 2:
        return
    later = loop.steps[1:]
    aside = _stepped_by_none(case)
    stale = dict.fromkeys(name for step in later for name in step.stale if name not in aside)
    if not stale:
        return
    first, last = loop.steps[0].norm, loop.steps[-1].norm
    evidence = {
        "tensors": float(len(stale)),
        "share": sum(not stale.keys().isdisjoint(step.stale) for step in later) / len(later),
        "steps": float(len(loop.steps)),
        "growth": last / first if first and last is not None else None,
    }
    yield found(CARD, "harmful", stale, evidence, REMEDIES)


def _stepped_by_none(case: Case) -> set[str]:
    """What no optimizer of this training step holds: gradients pile up there, and none uses them.

    A generator's turn leaves some to the critic, which are cleared in the critic's own.
    """
    optimizer = case.optimizer
    return (
        set(optimizer.missing).difference(optimizer.elsewhere) if optimizer is not None else set()
    )


def clear(case: Case) -> dict[str, float] | None:
    """How many steps were followed; nothing is fine where they are cleared before they are used."""
    loop = case.laboratory.loop()
    if loop is None or len(loop.steps) < 2 or any(step.cleared for step in loop.steps):
        return None
    return {"steps": float(len(loop.steps))}


CAUSE = Cause(
    card=CARD,
    find=find,
    clear=clear,
    explains=("step-too-large", "always-clipped", "unscaled-accumulation"),
    exact=True,
)
