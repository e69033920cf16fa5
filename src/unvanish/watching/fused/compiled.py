"""Reading CPU tensors with the compiled kernels: addresses are collected anew for every reading."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unvanish.recording.records import Counts
from unvanish.recording.statistics import HISTOGRAM_BINS
from unvanish.watching.fused.finish import SUMS, Wide, first_edge
from unvanish.watching.fused.kinds import FLOAT64, KINDS
from unvanish.watching.fused.memory import LOW

Rows = NDArray[np.int64] | slice


@dataclass(slots=True)
class Table:
    """Where tensors lie, how many entries they have and of which kind; good until they change."""

    addresses: list[int] = field(default_factory=list[int])
    sizes: list[int] = field(default_factory=list[int])
    kinds: list[int] = field(default_factory=list[int])

    @classmethod
    def of(cls, tensors: Sequence[Tensor]) -> "Table":
        """The table of dense CPU tensors."""
        return cls(
            [tensor.data_ptr() for tensor in tensors],
            [tensor.numel() for tensor in tensors],
            [KINDS[tensor.dtype] for tensor in tensors],
        )

    @classmethod
    def if_plain(cls, tensors: Sequence[Tensor]) -> "Table | None":
        """The table, if all are dense CPU tensors that lie in order, as in nearly every step."""
        # Property by property: one loop that asks everything of each tensor takes twice as long.
        strided = torch.strided
        if not all([type(t) is Tensor and t.layout is strided and t.is_cpu for t in tensors]):
            return None
        if not all([tensor.is_contiguous() for tensor in tensors]):
            return None
        addresses = [tensor.data_ptr() for tensor in tensors]
        kinds = [KINDS.get(tensor.dtype, -1) for tensor in tensors]
        if min(addresses, default=LOW) < LOW or min(kinds, default=0) < 0:
            return None
        return cls(addresses, [tensor.numel() for tensor in tensors], kinds)

    def columns(self) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.uint8]]:
        """As the compiled passes take them."""
        return (
            np.array(self.addresses, np.uint64),
            np.array(self.sizes, np.int64),
            np.array(self.kinds, np.uint8),
        )


class Compiled:
    """Reads dense CPU tensors of float32, bfloat16, half and float64, in one call for all.

    Made once: it loads the kernels that ``dtypes`` need (seconds the first time on a machine,
    from the cache on disk later), so that no training step has to wait for a compiler.
    """

    def __init__(self, dtypes: set[torch.dtype]) -> None:
        from unvanish.watching.fused import change_kernels, double_kernels, kernels

        self._single: Any = kernels.read_single
        self._double: Any = double_kernels.read_double
        self._change_single: Any = change_kernels.change_single
        self._change_double: Any = change_kernels.change_double
        for dtype in dtypes:
            one = torch.zeros(1, dtype=dtype if dtype in KINDS else torch.float64)
            self.sums(Table.of([one]), histogram=True, scale=1.0)
            self.changes(Table.of([one]), np.array([one.data_ptr()], np.uint64))

    def sums(self, table: Table, *, histogram: bool, scale: float) -> tuple[Wide, Counts | None]:
        """(tensors, 5) sums and (tensors, 64) counts; only the counts are divided by ``scale``."""
        many = len(table.sizes)
        sums = np.zeros((many, SUMS), np.float64)
        counts = np.zeros((many if histogram else 0, HISTOGRAM_BINS), np.uint32)
        addresses, sizes, kinds = table.columns()
        for rows, double in _by_width(kinds):
            # A slice is a view: where all are of one width, which is usual, nothing is copied.
            part, bins = sums[rows], counts[rows] if histogram else counts
            if double:
                edge = np.int64(first_edge(scale, 1023, 52))
                self._double(addresses[rows], sizes[rows], part, bins, edge)
            else:
                edge = np.int32(first_edge(scale, 127, 23))
                self._single(addresses[rows], sizes[rows], kinds[rows], part, bins, edge)
            if not isinstance(rows, slice):
                sums[rows] = part
                if histogram:
                    counts[rows] = bins
        return sums, counts if histogram else None

    def changes(self, table: Table, copies: NDArray[np.uint64]) -> Wide:
        """(tensors, 2): l2 norms of what changed against ``copies`` (addresses), and of those."""
        addresses, sizes, kinds = table.columns()
        norms = np.zeros((len(sizes), 2), np.float64)
        for rows, double in _by_width(kinds):
            given = addresses[rows], copies[rows], sizes[rows]
            part = np.zeros((len(given[0]), 2), np.float64)
            if double:
                self._change_double(*given, part)
            else:
                self._change_single(*given, kinds[rows], part)
            norms[rows] = part
        return norms


def _by_width(kinds: NDArray[np.uint8]) -> list[tuple[Rows, bool]]:
    """Rows of tensors that are not float64, and of those that are; parts without any left out."""
    double = kinds == FLOAT64
    if not double.any():
        return [(slice(None), False)] if len(kinds) else []
    parts = [(np.flatnonzero(~double), False), (np.flatnonzero(double), True)]
    return [(rows, wide) for rows, wide in parts if len(rows)]
