"""How a loss was put together, read from its graph: is it a mean, and times which constant?"""

from collections import Counter
from typing import Any

from torch import Tensor

from unvanish.probe.graph import nodes_behind

_MEAN = 1  # torch's code for reduction="mean" in the saved state of its losses
_PASSING = (
    "ViewBackward",
    "ReshapeAlias",
    "SqueezeBackward",
    "ToCopyBackward",
    "UnsqueezeBackward",
)


def share_of_mean(loss: Tensor) -> float | None:
    """The constant with which a mean over samples enters a loss: ``mse(x, y) / 4`` gives 0.25.

    ``None`` where the loss is no such product (a sum over samples, a sum of terms, a division by
    a tensor that was computed).
    """
    node: Any = loss.grad_fn
    share = 1.0
    while node is not None:
        name: str = node.name()
        if name.startswith("MeanBackward") or getattr(node, "_saved_reduction", None) == _MEAN:
            return share
        if name.startswith(("DivBackward", "MulBackward")):
            constant = _constant(node)
            if constant is None:
                return None
            share = share / constant if name.startswith("Div") else share * constant
        elif not name.startswith(_PASSING):
            return None
        node = next((target for target, _ in node.next_functions if target is not None), None)
    return None


def _constant(node: Any) -> float | None:
    """The number that a product or quotient has on its other side; ``None``: a computed tensor."""
    if sum(target is not None for target, _ in node.next_functions) != 1:
        return None
    other = node._saved_other
    if other is None or not isinstance(other, Tensor) or other.numel() != 1:
        return None
    value = float(other.detach())
    return value if value else None


def likeness(loss: Tensor) -> int:
    """A number that is equal for two losses made by the same operations, whatever their data."""
    counts = Counter(node.name() for node in nodes_behind(loss))
    return hash(frozenset(counts.items()))
