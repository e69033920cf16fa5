"""The same sums by torch alone, for many tensors at once and on any device.

Tensors are folded into rows of 1,024 entries, each beginning a row of its own, so that a handful
of reductions along rows serves all of them: the number of launches depends on how many bytes
there are, not on how many tensors. Nothing here waits for a device.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from unvanish.recording.statistics import HISTOGRAM_BINS
from unvanish.watching.fused.finish import SUMS, first_edge
from unvanish.watching.fused.memory import flat

ROW = 1024
CHUNK_ROWS = 4096
"""Rows folded at a time: 16 MiB of float32, which stays in the cache of a large accelerator."""


@dataclass(slots=True)
class Piece:
    """Part of a tensor in the rows of a chunk: entries ``start`` to ``stop`` from row ``row``."""

    tensor: int
    start: int
    stop: int
    row: int


@dataclass(slots=True)
class Chunk:
    """Pieces that are folded together, and which tensor each of their rows belongs to."""

    pieces: list[Piece]
    rows: int


def chunks_of(sizes: Sequence[int]) -> list[Chunk]:
    """Lay tensors of these sizes out in chunks of at most :data:`CHUNK_ROWS` rows."""
    chunks = [Chunk([], 0)]
    for tensor, size in enumerate(sizes):
        start = 0
        while start < size:
            if chunks[-1].rows == CHUNK_ROWS:
                chunks.append(Chunk([], 0))
            chunk = chunks[-1]
            stop = min(size, start + (CHUNK_ROWS - chunk.rows) * ROW)
            chunk.pieces.append(Piece(tensor, start, stop, chunk.rows))
            chunk.rows += -(-(stop - start) // ROW)
            start = stop
    return chunks


class Folded:
    """Reads tensors of one device and of fixed sizes; one class of precision at a time."""

    def __init__(self, sizes: Sequence[int], device: torch.device, double: bool) -> None:
        self.sizes = tuple(sizes)
        self.device = device
        self.chunks = chunks_of(sizes)
        self.dtype = torch.float64 if double else torch.float32
        # Metal has no float64; everything else sums in it.
        self.wide = torch.float32 if device.type == "mps" else torch.float64
        most = max(chunk.rows for chunk in self.chunks)
        self._buffers = [torch.empty((most, ROW), dtype=self.dtype, device=device)]
        owners = [
            piece.tensor
            for chunk in self.chunks
            for piece in chunk.pieces
            for _ in range(-(-(piece.stop - piece.start) // ROW))
        ]
        self._owners = torch.tensor(owners, dtype=torch.int64, device=device)
        padding = [-size % ROW for size in self.sizes]
        self._padding = torch.tensor(padding, dtype=self.wide, device=device)

    def sums(self, tensors: Sequence[Tensor]) -> Tensor:
        """(tensors, 5): l2 norm, sum, largest magnitude, zeros, non-finite entries."""
        rows = [_row_sums(self._fold(chunk, tensors, 0), self.wide) for chunk in self.chunks]
        return self._by_tensor(torch.cat(rows))

    def histogram(self, tensors: Sequence[Tensor], scale: float) -> Tensor:
        """(tensors, 64) of int32: entries in each octave of magnitude, divided by ``scale``."""
        counts = torch.zeros(
            (len(self.sizes), HISTOGRAM_BINS), dtype=torch.int32, device=self.device
        )
        first = 0
        for chunk in self.chunks:
            rows = _row_bins(self._fold(chunk, tensors, 0), scale)
            counts.index_add_(0, self._owners[first : first + chunk.rows], rows)
            first += chunk.rows
        return counts

    def changes(self, now: Sequence[Tensor], before: Sequence[Tensor]) -> Tensor:
        """(tensors, 2): l2 norms of now - before, and of before; not finite if an entry is not."""
        moved: list[Tensor] = []
        held: list[Tensor] = []
        for chunk in self.chunks:
            new, old = self._fold(chunk, now, 0), self._fold(chunk, before, 1)
            moved.append(_row_sums(new.sub_(old), self.wide))
            held.append(_row_sums(old, self.wide))
        both = [self._by_tensor(torch.cat(rows)) for rows in (moved, held)]
        norms = [torch.where(part[:, 4] > 0, torch.nan, part[:, 0]) for part in both]
        return torch.stack(norms, 1)

    def _fold(self, chunk: Chunk, tensors: Sequence[Tensor], buffer: int) -> Tensor:
        while len(self._buffers) <= buffer:
            self._buffers.append(torch.empty_like(self._buffers[0]))
        rows = self._buffers[buffer][: chunk.rows]
        rows.zero_()
        line = rows.view(-1)
        into: list[Tensor] = []
        out_of: list[Tensor] = []
        for piece in chunk.pieces:
            first = piece.row * ROW
            into.append(line[first : first + piece.stop - piece.start])
            out_of.append(flat(tensors[piece.tensor])[piece.start : piece.stop])
        if into:
            cast(Any, torch)._foreach_copy_(into, out_of)
        return rows

    def _by_tensor(self, rows: Tensor) -> Tensor:
        """From the sums of rows to those of tensors; norms through their largest, so none is lost."""
        many = len(self.sizes)
        result = rows.new_zeros((many, SUMS))
        if not rows.shape[0]:
            return result
        largest = rows.new_zeros(many).scatter_reduce_(0, self._owners, rows[:, 2], "amax")
        result.index_add_(0, self._owners, rows)
        unit = torch.where(largest > 0, largest, 1.0)
        shares = (rows[:, 0] / unit[self._owners]).square()
        squares = rows.new_zeros(many).index_add_(0, self._owners, shares)
        result[:, 0] = squares.sqrt() * unit
        result[:, 2] = largest
        result[:, 3] -= self._padding
        return result


def _row_sums(rows: Tensor, wide: torch.dtype) -> Tensor:
    """Sums of each row; makes the entries of ``rows`` that are not finite zero."""
    zeros = (rows == 0).sum(1)
    nonfinite = rows.isfinite().logical_not_().sum(1)
    rows.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)
    largest = rows.abs().amax(1) if rows.shape[0] else rows.new_zeros(0)
    total = rows.sum(1, dtype=wide)
    if rows.dtype == wide:  # squares may leave its range: divide by the largest first
        unit = torch.where(largest > 0, largest, 1.0)
        norm = torch.linalg.vector_norm(rows / unit[:, None], dim=1) * unit
    else:
        norm = torch.linalg.vector_norm(rows, dim=1, dtype=wide)
    return torch.stack([part.to(wide) for part in (norm, total, largest, zeros, nonfinite)], 1)


def _row_bins(rows: Tensor, scale: float) -> Tensor:
    """(rows, 64): how many entries of each row are in each octave."""
    single = rows.dtype == torch.float32
    bits = rows.view(torch.int32 if single else torch.int64)
    mantissa, bias = (23, 127) if single else (52, 1023)
    none = ((1 << (31 - mantissa if single else 63 - mantissa)) - 1) << mantissa
    magnitude = bits & ((1 << (31 if single else 63)) - 1)
    counted = (magnitude != 0) & (magnitude < none)
    places = (magnitude - first_edge(scale, bias, mantissa)) >> mantissa
    bins = places.clamp_(0, HISTOGRAM_BINS - 1).to(torch.int64)
    table = torch.zeros((rows.shape[0], HISTOGRAM_BINS), dtype=torch.int32, device=rows.device)
    return table.scatter_add_(1, bins, counted.to(torch.int32))
