"""What a step really changed: the weights before it, kept, and compared with those after it.

Compiled, the copy is persistent: the pass that compares weight and copy also brings the copy up
to date, so at the next step nothing has to be copied first. A weight that was changed between two
steps (an average swapped in, a checkpoint loaded, weights clipped) is copied anew.
"""

import ctypes
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unvanish.recording.records import Floats
from unvanish.watching.fused.compiled import Compiled
from unvanish.watching.fused.finish import Wide, update_statistics
from unvanish.watching.fused.memory import weights_of
from unvanish.watching.fused.on_device import OnDevice
from unvanish.watching.fused.readings import UpdateReadings
from unvanish.watching.fused.ring import Seat

_ALIGNED = 64
_Key = tuple[int, int, torch.dtype, tuple[int, ...], int]


def turns(sizes: Sequence[int], limit: int) -> list[list[int]]:
    """Tensors that are compared together: in each turn at most ``limit`` bytes, larger ones never.

    >>> turns([4, 4, 9, 3], 8)
    [[0, 1], [3]]
    """
    result: list[list[int]] = [[]]
    room = limit
    for tensor, size in enumerate(sizes):
        if size > limit:
            continue
        if size > room:
            result.append([])
            room = limit
        result[-1].append(tensor)
        room -= size
    return result


class Weights:
    """Measures updates of parameters; holds at most ``limit`` bytes of copies."""

    def __init__(
        self,
        parameters: Sequence[Tensor],
        compiled: Compiled | None,
        device: Callable[[torch.device], OnDevice],
        limit: int,
    ) -> None:
        self._parameters = list(parameters)
        self._device = device
        self._entries = np.array([float(p.numel()) for p in parameters])
        self._turns = turns([_room(p) for p in parameters], limit)
        self._turn = -1
        self._now: list[int] = []
        self._persistent = _Persistent(compiled) if compiled is not None else None
        self._copies: dict[int, Tensor] = {}

    def before_step(self) -> None:
        """Copy the weights whose turn it is, those that are not known already."""
        self._turn = (self._turn + 1) % len(self._turns)
        self._now = self._turns[self._turn]
        readable = {c: w for c in self._now if (w := weights_of(self._parameters[c])) is not None}
        if self._persistent is not None:
            here = {c: w for c, w in readable.items() if w.is_cpu}
            self._persistent.before_step(here, self._parameters)
            readable = {c: w for c, w in readable.items() if c not in here}
        self._copies = {c: self._copied(c, w) for c, w in readable.items()}

    def _copied(self, column: int, weight: Tensor) -> Tensor:
        held = self._copies.get(column)
        if held is None or held.shape != weight.shape or held.dtype != weight.dtype:
            held = torch.empty_like(weight)  # the same order in memory
        return held.copy_(weight)

    def after_step(self) -> UpdateReadings:
        """Compare; what was not copied before the step, or changed its kind in it, is NaN."""
        norms = np.full((len(self._parameters), 2), np.nan)
        if self._persistent is not None:
            self._persistent.after_step(self._parameters, norms)
        by_device: dict[torch.device, tuple[list[int], list[Tensor]]] = {}
        for column, copy in self._copies.items():
            weight = weights_of(self._parameters[column])
            if weight is None or _kind(weight) != _kind(copy):
                continue
            columns, weights = by_device.setdefault(weight.device, ([], []))
            columns.append(column)
            weights.append(weight)
        late: list[tuple[list[int], Seat]] = []
        for device, (columns, weights) in by_device.items():
            copies = [self._copies[column] for column in columns]
            late.append((columns, self._device(device).changes(weights, copies)))

        def finish() -> dict[str, Floats]:
            for columns, seat in late:
                norms[columns] = seat.fetch().reshape(-1, 2)
            return update_statistics(norms[:, 1], norms[:, 0], self._entries)

        waiting = tuple(seat for _, seat in late if not seat.ready())
        return UpdateReadings(finish, waiting)

    def release(self) -> None:
        """Let go of every copy."""
        self._copies = {}
        self._now = []
        if self._persistent is not None:
            self._persistent.release()


class _Persistent:
    """Copies of CPU weights in one buffer, brought up to date by the pass that compares them."""

    def __init__(self, compiled: Compiled) -> None:
        self._compiled = compiled
        self._buffer = np.empty(0, np.uint8)
        self._columns: list[int] = []
        self._copies = np.empty(0, np.uint64)
        self._known: dict[int, _Key] = {}

    def before_step(self, weights: dict[int, Tensor], parameters: Sequence[Tensor]) -> None:
        columns = list(weights)
        if columns != self._columns or not len(self._buffer):
            self._make_room(columns, list(weights.values()))
        for place, (column, weight) in enumerate(weights.items()):
            key = _key(parameters[column], weight)
            size = weight.numel() * weight.element_size()
            ctypes.memmove(int(self._copies[place]), weight.data_ptr(), size)
            self._known[column] = key

    def _make_room(self, columns: list[int], weights: list[Tensor]) -> None:
        sizes = [-(-w.numel() * w.element_size() // _ALIGNED) * _ALIGNED for w in weights]
        if sum(sizes) + _ALIGNED > len(self._buffer):
            self._buffer = np.empty(sum(sizes) + _ALIGNED, np.uint8)
        start = -(-self._buffer.ctypes.data // _ALIGNED) * _ALIGNED
        self._copies = np.array([start, *sizes], np.uint64).cumsum()[:-1].astype(np.uint64)
        self._columns = columns
        self._known = {}

    def after_step(self, parameters: Sequence[Tensor], norms: Wide) -> None:
        weights: list[Tensor] = []
        columns: list[int] = []
        places: list[int] = []
        for place, column in enumerate(self._columns):
            weight = weights_of(parameters[column])
            known = self._known.pop(column, None)
            if weight is None or known is None or _kind(weight) != known[2:]:
                continue
            weights.append(weight)
            columns.append(column)
            places.append(place)
        if not weights:
            return
        copies: NDArray[np.uint64] = self._copies[places]
        norms[columns] = self._compiled.changes(weights, copies, keep=True)
        for column, weight in zip(columns, weights, strict=True):
            self._known[column] = _key(parameters[column], weight)

    def release(self) -> None:
        self._buffer = np.empty(0, np.uint8)
        self._columns = []
        self._known = {}


def _kind(weight: Tensor) -> tuple[torch.dtype, tuple[int, ...], int]:
    return weight.dtype, weight.stride(), weight.numel()


def _key(parameter: Tensor, weight: Tensor) -> _Key:
    try:
        version = parameter._version
    except RuntimeError:  # made in inference mode: changes are not counted
        version = -1
    return (weight.data_ptr(), version, *_kind(weight))


def _room(parameter: Tensor) -> int:
    return parameter.numel() * parameter.element_size()
