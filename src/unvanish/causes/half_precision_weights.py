"""UV506 half-precision-weights: what trains is stored in half precision."""

from collections.abc import Iterable

from unvanish.cards import Card
from unvanish.causes.cause import Case, Cause, Finding, found

CARD = Card(
    code="UV506",
    name="half-precision-weights",
    title="trainable weights are stored in half precision",
    says="{tensors:.0f} trainable tensors are stored in {detail} (first {where}): an update below "
    "{resolution:.1g} of a weight rounds to nothing.",
    what="float16 keeps 11 bits and reaches down to 6e-8, bfloat16 keeps 8 bits: a weight takes an "
    "update only if it is more than half a gap between neighbouring numbers.",
    hurts="Usual updates are a thousandth of a weight and less, so most of them round away. float16 "
    "gradients underflow besides, Adam's eps of 1e-8 is zero in it, and a GradScaler refuses "
    "to unscale them.",
    apart="Read from the weights themselves. Half-precision computing with float32 weights "
    "(autocast) and frozen half-precision weights under a float32 adapter are fine. bfloat16 is "
    "a note: it has float32's range, and some optimizers keep a float32 copy.",
    do="Keep the weights in float32 (model.float()) and compute under torch.autocast.",
    reference="Micikevicius et al. 2018, arXiv:1710.03740, section 3.1 (float32 master copy)",
)

REMEDIES = ("full-precision-weights",)
RESOLUTIONS = {"float16": 2.0**-11, "bfloat16": 2.0**-8}


def find(case: Case) -> Iterable[Finding]:
    """Trainable tensors in a dtype of 16 bits; float16 before bfloat16."""
    for dtype, resolution in RESOLUTIONS.items():
        mine = [p for p in case.trace.parameters if p.dtype == dtype and p.state != "frozen"]
        if mine:
            yield found(
                CARD,
                "harmful" if dtype == "float16" else "note",
                [p.name for p in mine],
                {"tensors": float(len(mine)), "resolution": resolution},
                REMEDIES,
                detail=dtype,
            )
            return


CAUSE = Cause(card=CARD, find=find, exact=True)
