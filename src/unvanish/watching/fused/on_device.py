"""Reading tensors of one device by torch alone; the numbers go into a ring and arrive later."""

from collections.abc import Sequence

import torch
from torch import Tensor

from unvanish.recording.statistics import HISTOGRAM_BINS
from unvanish.watching.fused.finish import SUMS
from unvanish.watching.fused.folded import Folded
from unvanish.watching.fused.ring import Ring, Seat


class OnDevice:
    """Reads gradients and changes of weights on one device; asks for nothing back meanwhile."""

    def __init__(self, device: torch.device, tensors: int, steps: int = 16) -> None:
        self._device = device
        self._folds: dict[tuple[tuple[int, ...], bool], Folded] = {}
        wide = torch.float32 if device.type == "mps" else torch.float64
        self._ring = Ring(tensors * (SUMS + HISTOGRAM_BINS), device, wide, steps)
        self._changes = Ring(tensors * 2, device, wide, steps)

    def gradients(self, tensors: Sequence[Tensor], histogram: bool, scale: float) -> Seat:
        """Sums (tensors, 5) and, if asked for, counts (tensors, 64), one after the other."""
        sums = self._scattered(tensors, SUMS)
        bins = self._scattered(tensors, HISTOGRAM_BINS) if histogram else None
        for rows, fold in self._parts(tensors):
            mine = [tensors[row] for row in rows]
            place = torch.tensor(rows, device=self._device)
            sums[place] = fold.sums(mine)
            if bins is not None:
                bins[place] = fold.histogram(mine, scale).to(bins.dtype)
        return self._ring.put([sums] if bins is None else [sums, bins])

    def changes(self, now: Sequence[Tensor], before: Sequence[Tensor]) -> Seat:
        """(tensors, 2): l2 norms of now - before, and of before."""
        norms = self._scattered(now, 2)
        for rows, fold in self._parts(now):
            place = torch.tensor(rows, device=self._device)
            norms[place] = fold.changes([now[row] for row in rows], [before[row] for row in rows])
        return self._changes.put([norms])

    def send(self) -> None:
        """Begin to bring over what was read so far; returns at once."""
        self._ring.send()
        self._changes.send()

    def _scattered(self, tensors: Sequence[Tensor], width: int) -> Tensor:
        wide = torch.float32 if self._device.type == "mps" else torch.float64
        return torch.zeros((len(tensors), width), dtype=wide, device=self._device)

    def _parts(self, tensors: Sequence[Tensor]) -> list[tuple[list[int], Folded]]:
        """The tensors by precision, each part with what folds tensors of these sizes."""
        parts: list[tuple[list[int], Folded]] = []
        for double in (False, True):
            rows = [
                row
                for row, tensor in enumerate(tensors)
                if (tensor.dtype == torch.float64) is double
            ]
            if rows:
                sizes = tuple(tensors[row].numel() for row in rows)
                parts.append((rows, self._fold(sizes, double)))
        return parts

    def _fold(self, sizes: tuple[int, ...], double: bool) -> Folded:
        key = (sizes, double)
        if key not in self._folds:
            if len(self._folds) >= 8:  # sparse gradients have other sizes at every step
                self._folds.pop(next(iter(self._folds)))
            self._folds[key] = Folded(sizes, self._device, double)
        return self._folds[key]
