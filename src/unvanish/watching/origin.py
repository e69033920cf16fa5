"""Where a loss that is NaN or Inf comes from, read off its graph before the backward pass frees it.

The weights are still those of this step: after it they will be NaN themselves, and the next forward
pass tells nothing any more. The values that autograd saved for the backward pass are looked through
in the order in which the forward pass made them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

MOST_NODES = 200_000
LINEAR = frozenset(
    "Add Div Expand Mean Mul Neg Permute Squeeze Sub Sum T Transpose Unsqueeze UnsafeView View".split()
)
"""Through these every entry counts: one that is not finite makes the loss so. What another operation
may leave out (``where``), or make finite again (``exp``), is not looked for behind it."""
LOGARITHMS = {"Log": 0.0, "Log2": 0.0, "Log10": 0.0, "Log1P": -1.0}
"""The value up to which the result is no finite number."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The first place: in words, and the tensors of the model next to it."""

    said: str
    where: tuple[str, ...]


def origin_of(loss: Tensor, names: Mapping[int, str]) -> Origin | None:
    """The first operation at which something is not finite; ``None`` where nothing saved shows it.

    Args:
        loss: what the backward pass is about to begin from.
        names: of the model's tensors, by ``id``.
    """
    for node in _in_order(loss):
        for role, tensor in _saved(node):
            if bool(torch.isfinite(tensor).all()):
                continue
            kind = _kind(node)
            near = _near(node, names)
            own = _own(node, tensor, names)
            if own is not None:
                return Origin(f"{own} itself is not finite, where {kind} uses it", (own,))
            if role.startswith("result") or role == "out":
                return Origin(f"first seen in the result of {kind}{_after(node)}", near)
            made_by: Any = tensor.grad_fn
            if made_by is None:
                return Origin(f"what goes into {kind} from outside is not finite", near)
            said = f"first seen in the result of {_kind(made_by)}{_after(made_by)}"
            return Origin(said, _near(made_by, names) or near)
    pole = next((node for node in _in_order(loss, LINEAR) if _at_its_pole(node)), None)
    if pole is None:
        return None
    return Origin(f"first seen in the result of {_kind(pole)}{_after(pole)}", _near(pole, names))


def _in_order(loss: Tensor, through: frozenset[str] | None = None) -> list[Any]:
    """The nodes of the graph as the forward pass made them; those behind some operations only."""
    pending, seen = [loss.grad_fn], set[Any]()
    while pending and len(seen) < MOST_NODES:
        node = pending.pop()
        if node is not None and node not in seen:
            seen.add(node)
            if through is None or _kind(node) in through:
                # A divisor that is infinite makes zero.
                divides = through is not None and _kind(node) == "Div"
                pending += [before for before, _ in node.next_functions[: 1 if divides else None]]
    made = [node for node in seen if getattr(node, "variable", None) is None]
    return sorted(made, key=lambda node: node._sequence_nr())


def _saved(node: Any) -> Iterator[tuple[str, Tensor]]:
    for name in dir(node):
        if not name.startswith("_saved_"):
            continue
        try:
            value = getattr(node, name)
        except RuntimeError:  # freed, or overwritten in place since
            continue
        listed = value if isinstance(value, tuple | list) else (value,)
        for tensor in listed:
            if isinstance(tensor, Tensor) and tensor.is_floating_point():
                yield name.removeprefix("_saved_"), tensor


def _at_its_pole(node: Any) -> bool:
    """Whether an operation makes what is not finite out of finite values, which are all it saved."""
    kind, saved = _kind(node), dict(_saved(node))
    if kind == "Div":
        return "other" in saved and bool((saved["other"] == 0).any())
    given = saved.get("self")
    if given is None:
        return False
    if kind in LOGARITHMS:
        return bool((given <= LOGARITHMS[kind]).any())
    exponent: Any = getattr(node, "_saved_exponent", None)
    below = isinstance(exponent, int | float) and exponent < 0
    return kind == "Pow" and below and bool((given == 0).any())


def _own(node: Any, tensor: Tensor, names: Mapping[int, str]) -> str | None:
    """The model's own tensor behind a saved one (a transposed view of it, too)."""
    for leaf in _leaves(node):
        same = leaf.untyped_storage()._cdata == tensor.untyped_storage()._cdata
        if same and id(leaf) in names:
            return names[id(leaf)]
    return None


def _near(node: Any, names: Mapping[int, str]) -> tuple[str, ...]:
    return tuple(names[id(leaf)] for leaf in _leaves(node) if id(leaf) in names)


def _leaves(node: Any) -> Iterator[Tensor]:
    """The leaves that an operation takes, through transposes and the like."""
    for before, _ in node.next_functions:
        for _ in range(3):
            if before is None:
                break
            leaf = getattr(before, "variable", None)
            if isinstance(leaf, Tensor):
                yield leaf
                break
            inputs = before.next_functions
            before = inputs[0][0] if len(inputs) == 1 else None


def _after(node: Any) -> str:
    """What an operation works on: its own input may have been bad already, and was not saved."""
    before = [one for one, _ in node.next_functions if one is not None]
    made = [_kind(one) for one in before if getattr(one, "variable", None) is None]
    return f", on what {made[0]} made" if made else ""


def _kind(node: Any) -> str:
    return str(node.name()).rstrip("0123456789").removesuffix("Backward")
