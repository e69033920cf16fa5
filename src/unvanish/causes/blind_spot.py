"""UV901 blind-spot: what could not be observed."""

from collections.abc import Iterable

from unvanish.cards import Card
from unvanish.causes.cause import Case, Cause, Finding, found

CARD = Card(
    code="UV901",
    name="blind-spot",
    title="too little was seen to judge",
    says="Too little of the gradient's way was seen to call it healthy: {detail}.",
    what="Parts of the backward pass could not be observed or judged.",
    hurts="No news from there is not good news.",
    apart="A note, not an alarm: absent is never taken for zero, nor for healthy.",
    do="Make the part visible: observe it in eager mode, outside custom autograd functions, "
    "with float inputs that may require grad.",
    reference="docs: what is seen and what is not",
)


def find(case: Case) -> Iterable[Finding]:
    """A note for each thing that was not seen."""
    for unseen in case.trace.unseen:
        yield found(CARD, "note", [], {}, detail=unseen)


CAUSE = Cause(card=CARD, find=find, exact=True)
