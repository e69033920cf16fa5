"""Whether what is made larger is a loss: a term that is never negative enters it with a plus."""

from unvanish.trace import Op, Trace

NEVER_NEGATIVE = frozenset(
    "NllLoss NllLoss2D MseLoss L1Loss SmoothL1Loss HuberLoss BinaryCrossEntropy "
    "BinaryCrossEntropyWithLogits CtcLoss Pow Abs Norm LinalgVectorNorm Relu Softplus".split()
)
NEVER_POSITIVE = frozenset(("LogSoftmax", "LogSigmoid"))
_PASSING = frozenset("Mean Sum Add Gather Index Squeeze Unsqueeze".split())
_FLIPPED = dict[str, tuple[bool, ...]](Neg=(True,), Sub=(False, True), Rsub=(True, False))


def loss_term(trace: Trace) -> Op | None:
    """A term of the loss that has a least value and no largest one: what nobody would climb.

    Followed from the root through sums, means, signs and products with numbers (taken for
    positive weights, but for a loss of one term: there its own sign tells). An objective that is
    to be climbed, a critic's gap or a reward, has other terms; its penalties enter with a minus.
    """
    found: list[tuple[Op, bool]] = []
    pending, seen, terms = [(0, False)], set[tuple[int, bool]](), 1
    while pending and trace.ops:
        place = pending.pop()
        if place in seen:
            continue
        seen.add(place)
        op, down = trace.ops[place[0]], place[1]
        targets = [edge.target for edge in op.edges if edge.target is not None]
        if op.kind in NEVER_NEGATIVE | NEVER_POSITIVE:
            found.append((op, down != (op.kind in NEVER_POSITIVE)))
        elif op.kind in _FLIPPED and len(targets) == len(_FLIPPED[op.kind]):
            flips = _FLIPPED[op.kind]
            pending += [(t, down != flip) for t, flip in zip(targets, flips, strict=True)]
            terms += len(targets) - 1
        elif op.kind in _PASSING or op.role == "reshape" or (_scales(op) and len(targets) == 1):
            pending += [(target, down) for target in targets]
            terms += max(len(targets) - 1, 0)
    value = trace.conditions.loss
    if terms == 1 and len(found) == 1 and value:
        return found[0][0] if value > 0 else None
    return next((op for op, down in found if not down), None)


def _scales(op: Op) -> bool:
    return op.kind in ("Mul", "Div")
