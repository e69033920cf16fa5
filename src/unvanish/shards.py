"""Tensors of which each of several processes holds a part: telling them, and reading what is here.

Nothing here sends anything: asking for the values of a distributed tensor starts a collective, in
which a process that does not ask leaves all others waiting. All are met by what they have: importing
``torch.distributed.tensor`` takes a second.
"""

from typing import Any, cast

from torch import Tensor, nn

_DIVIDING = ("FullyShardedDataParallel", "FSDPModule")


def is_distributed(tensor: Tensor) -> bool:
    """Whether several processes hold it together (a DTensor), so that its values are not all here."""
    return hasattr(tensor, "to_local") and hasattr(tensor, "placements")


def is_part(parameter: Tensor) -> bool:
    """Whether a process may hold a part of it only: a distributed tensor, or one of FSDP1."""
    return is_distributed(parameter) or bool(getattr(parameter, "_fsdp_flattened", False))


def divides(module: nn.Module) -> bool:
    """Whether a module is one that FSDP, of either kind, has taken apart."""
    return any(kind.__name__ in _DIVIDING for kind in type(module).__mro__)


def local_shard(tensor: Tensor) -> Tensor:
    """The part of a distributed tensor that this process holds; no communication."""
    held = getattr(tensor, "_local_tensor", None)
    return held if isinstance(held, Tensor) else cast(Any, tensor).to_local()


def known_here(tensor: Tensor) -> Tensor | None:
    """A tensor as this process has it whole; ``None`` where the others would have to be asked."""
    if not is_distributed(tensor):
        return tensor
    local: Any = getattr(tensor, "_local_tensor", None)
    whole = all(one.is_replicate() for one in cast(Any, tensor).placements)
    return local if whole and isinstance(local, Tensor) else None


def lies_as(gradient: Tensor, parameter: Tensor) -> bool:
    """Whether a gradient is spread over the processes as its parameter is.

    Otherwise it is a summand, or another part, of what the optimizer will use: torch gathers it
    inside of the step, and nothing is known of the whole before.
    """
    placed: Any = getattr(gradient, "placements", None)
    return placed == getattr(parameter, "placements", None)
