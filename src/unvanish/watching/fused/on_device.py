"""Reading tensors of one device by torch alone; the numbers go into a ring and arrive later."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unvanish.recording.statistics import HISTOGRAM_BINS
from unvanish.watching.fused.finish import SUMS
from unvanish.watching.fused.folded import Folded
from unvanish.watching.fused.ring import Ring, Seat

_LAYOUTS = 8
"""Sets of sizes that are remembered; sparse gradients bring others at every step."""


@dataclass(slots=True)
class _Part:
    """Tensors of one precision: which rows they are, here and on the device, and their layout."""

    rows: list[int]
    place: Tensor
    fold: Folded


class OnDevice:
    """Reads gradients and changes of weights on one device; asks for nothing back meanwhile.

    Where each tensor goes is worked out, and sent to the device, once for each set of sizes:
    sending waits, so an ordinary step sends nothing.
    """

    def __init__(self, device: torch.device, tensors: int, steps: int = 16) -> None:
        self._device = device
        self._parts: dict[tuple[tuple[int, bool], ...], list[_Part]] = {}
        self._wide = torch.float32 if device.type == "mps" else torch.float64
        width = SUMS + HISTOGRAM_BINS
        self._ring = Ring(tensors * width, device, self._wide, steps)
        self._changes = Ring(tensors * 2, device, self._wide, steps)

    def gradients(self, tensors: Sequence[Tensor], histogram: bool, scale: float) -> Seat:
        """Sums (tensors, 5) and, if asked for, counts (tensors, 64), one after the other."""
        sums = self._empty(tensors, SUMS)
        bins = self._empty(tensors, HISTOGRAM_BINS) if histogram else None
        for part in self._parts_of(tensors):
            mine = [tensors[row] for row in part.rows]
            sums[part.place] = part.fold.sums(mine)
            if bins is not None:
                bins[part.place] = part.fold.histogram(mine, scale).to(bins.dtype)
        return self._ring.put([sums] if bins is None else [sums, bins])

    def changes(self, now: Sequence[Tensor], before: Sequence[Tensor]) -> Seat:
        """(tensors, 2): l2 norms of now - before, and of before."""
        norms = self._empty(now, 2)
        for part in self._parts_of(now):
            new, old = [now[row] for row in part.rows], [before[row] for row in part.rows]
            norms[part.place] = part.fold.changes(new, old)
        return self._changes.put([norms])

    def send(self) -> None:
        """Begin to bring over what was read so far; returns at once."""
        self._ring.send()
        self._changes.send()

    def _empty(self, tensors: Sequence[Tensor], width: int) -> Tensor:
        return torch.zeros((len(tensors), width), dtype=self._wide, device=self._device)

    def _parts_of(self, tensors: Sequence[Tensor]) -> list[_Part]:
        key = tuple((tensor.numel(), tensor.dtype == torch.float64) for tensor in tensors)
        if key not in self._parts:
            if len(self._parts) >= _LAYOUTS:
                self._parts.pop(next(iter(self._parts)))
            self._parts[key] = [self._part(key, double) for double in {wide for _, wide in key}]
        return self._parts[key]

    def _part(self, key: tuple[tuple[int, bool], ...], double: bool) -> _Part:
        rows = [row for row, (_, wide) in enumerate(key) if wide is double]
        place = torch.tensor(rows, dtype=torch.int64, device=self._device)
        return _Part(rows, place, Folded([key[row][0] for row in rows], self._device, double))
