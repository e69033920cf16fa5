"""What the memory of a tensor holds: every stored entry once, in any order, without a copy.

The order of entries does not matter for moments, counts and norms, so a transposed weight's
gradient or one in channels-last order is read as it lies. Only what is not dense in memory
(a slice of columns, an expanded scalar) is copied first.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import Parameter

from unvanish.shards import is_distributed, local_shard
from unvanish.watching.fused.kinds import KINDS

COMPRESSED = (torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc)
_ORDINARY = frozenset((Tensor, Parameter))
LOW = 1 << 32
# An address below it may be an offset into storage that was freed: looked at more closely. (The
# operating systems of today place almost nothing there.)


@dataclass(slots=True)
class Stored:
    """What is stored of one tensor.

    ``tensor`` is dense in memory, of a dtype that is read as it is. ``unstored`` entries are zeros that
    a sparse layout leaves out. ``local``: only this process's shard. ``unsigned``: magnitudes of
    complex entries, so that a mean with sign does not exist.
    """

    tensor: Tensor
    unstored: int = 0
    local: bool = False
    unsigned: bool = False


def stored(tensor: Tensor) -> Stored | None:
    """What is stored of a tensor of any kind; ``None`` where there is no memory (meta, fake)."""
    local = is_distributed(tensor)
    plain = _unwrapped(tensor)
    if plain is None:
        return None
    tensor = plain.detach()
    entries = tensor.numel()
    if tensor.layout == torch.sparse_coo:
        tensor = tensor.coalesce().values()
    elif tensor.layout in COMPRESSED:
        tensor = tensor.values()
    elif tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    unstored = entries - tensor.numel()
    unsigned = tensor.is_complex()
    dense = _readable(tensor)
    return None if dense is None else Stored(dense, unstored, local, unsigned)


def _unwrapped(tensor: Tensor) -> Tensor | None:
    """An ordinary tensor over the same memory; ``None`` where a subclass keeps it elsewhere."""
    if is_distributed(tensor):
        tensor = local_shard(tensor)
    if type(tensor) not in _ORDINARY:
        dispatch = cast(Any, type(tensor)).__torch_dispatch__
        if dispatch is not cast(Any, Tensor).__torch_dispatch__:
            return None
        tensor = tensor.as_subclass(Tensor)
    return None if tensor.is_meta else tensor


def _readable(tensor: Tensor) -> Tensor | None:
    """The tensor, or a copy of another dtype or order, to be read as it lies."""
    try:
        return dense_in_memory(_plain(tensor)) if _has_memory(tensor) else None
    except (RuntimeError, NotImplementedError):  # a backend that keeps its tensors elsewhere
        return None


def _plain(tensor: Tensor) -> Tensor:
    if tensor.is_complex():
        return tensor.to(torch.complex128).abs()
    if tensor.is_neg():
        tensor = tensor.resolve_neg()
    return tensor if tensor.dtype in KINDS else tensor.to(torch.float32)


def dense_in_memory(tensor: Tensor) -> Tensor:
    """The tensor itself if its memory is just its entries, else a contiguous copy."""
    if tensor.is_contiguous() or is_dense(tuple(tensor.shape), tensor.stride()):
        return tensor
    return tensor.contiguous()


@lru_cache(maxsize=4096)
def is_dense(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether entries of these strides fill one stretch of memory, each place once.

    >>> is_dense((3, 4), (1, 3)), is_dense((3, 4), (8, 1)), is_dense((3, 4), (0, 1))
    (True, False, False)
    """
    expected = 1
    for stride, length in sorted(zip(strides, shape, strict=True)):
        if length == 1:
            continue
        if stride != expected:
            return False
        expected *= length
    return True


def flat(tensor: Tensor) -> Tensor:
    """All entries of a dense tensor as one row, in the order of memory; a view."""
    return tensor.as_strided((tensor.numel(),), (1,))


def is_simple(tensor: Tensor) -> bool:
    """An ordinary contiguous CPU tensor, to be read as it is: what nearly every one on a CPU is."""
    return (
        type(tensor) in _ORDINARY
        and tensor.is_cpu
        and tensor.dtype in KINDS
        and tensor.layout is torch.strided
        and tensor.is_contiguous()
        and (tensor.data_ptr() >= LOW or not tensor.numel())
    )


def _has_memory(tensor: Tensor) -> bool:
    """Whether the storage is there: sharded training frees it and keeps the tensor."""
    if not tensor.numel():
        return True
    last = sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
    needed = (tensor.storage_offset() + last + 1) * tensor.element_size()
    return tensor.untyped_storage().nbytes() >= needed


def weights_of(parameter: Tensor) -> Tensor | None:
    """The entries of a weight as real numbers that are dense in memory; ``None`` if not readable.

    Complex entries become two real ones, so that a difference of two weights can be taken.
    """
    if is_simple(parameter):
        return parameter
    plain = _unwrapped(parameter)
    if plain is None or plain.layout != torch.strided:
        return None
    tensor = plain.detach()
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    return _readable(tensor)
