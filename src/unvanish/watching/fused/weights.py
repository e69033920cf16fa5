"""What a step really changed: the weights before it, copied, and compared with those after it.

They are copied right before every step that is measured. A copy kept up to date from one step to
the next would save a third of the work, but a weight that is changed between steps (clipped, an
average swapped in, a row set to zero) through ``.data`` or numpy leaves no mark on its version,
and would pass for an update.
"""

import ctypes
import itertools
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from unvanish.recording.records import Floats
from unvanish.shards import is_distributed, local_shard
from unvanish.watching.fused.compiled import Compiled, Table
from unvanish.watching.fused.finish import Wide, update_statistics
from unvanish.watching.fused.memory import weights_of
from unvanish.watching.fused.on_device import OnDevice
from unvanish.watching.fused.readings import UpdateReadings
from unvanish.watching.fused.ring import Seat

_ALIGNED = 64
_Kind = tuple[torch.dtype, int, tuple[int, ...] | None]


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
        self._entries = np.array([float(_entries_here(p)) for p in parameters])
        self._turns = turns([_room(p) for p in parameters], limit)
        self._turn = -1
        self._now: list[int] = []
        self._here = _CopiesHere(compiled) if compiled is not None else None
        self._copies: dict[int, Tensor] = {}

    def before_step(self) -> None:
        """Copy the weights whose turn it is."""
        self._turn = (self._turn + 1) % len(self._turns)
        self._now = self._turns[self._turn]
        readable = {c: w for c in self._now if (w := weights_of(self._parameters[c])) is not None}
        if self._here is not None:
            here = {c: w for c, w in readable.items() if w.is_cpu}
            self._here.before_step(here)
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
        if self._here is not None:
            self._here.after_step(self._parameters, norms)
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
        if self._here is not None:
            self._here.release()


class _CopiesHere:
    """Copies of CPU weights in one buffer that stays, compared by the compiled pass."""

    def __init__(self, compiled: Compiled) -> None:
        self._compiled = compiled
        self._buffer = np.empty(0, np.uint8)
        self._sizes: list[int] = []
        self._kinds: dict[int, _Kind] = {}
        self._copies: list[int] = []

    def before_step(self, weights: dict[int, Tensor]) -> None:
        sizes = [weight.nbytes for weight in weights.values()]
        if sizes != self._sizes or not len(self._buffer):
            self._make_room(sizes)
        for weight, size, copy in zip(weights.values(), sizes, self._copies, strict=True):
            ctypes.memmove(copy, weight.data_ptr(), size)
        self._kinds = {column: _kind(weight) for column, weight in weights.items()}

    def _make_room(self, sizes: list[int]) -> None:
        rooms = [-(-size // _ALIGNED) * _ALIGNED for size in sizes]
        if sum(rooms) + _ALIGNED > len(self._buffer):
            self._buffer = np.empty(sum(rooms) + _ALIGNED, np.uint8)
        start = -(-self._buffer.ctypes.data // _ALIGNED) * _ALIGNED
        self._copies = list(itertools.accumulate(rooms, initial=start))[:-1]
        self._sizes = sizes

    def after_step(self, parameters: Sequence[Tensor], norms: Wide) -> None:
        weights: list[Tensor] = []
        columns: list[int] = []
        copies: list[int] = []
        for (column, kind), copy in zip(self._kinds.items(), self._copies, strict=False):
            weight = weights_of(parameters[column])
            if weight is not None and _kind(weight) == kind:
                weights.append(weight)
                columns.append(column)
                copies.append(copy)
        self._kinds = {}
        if weights:
            norms[columns] = self._compiled.changes(Table.of(weights), np.array(copies, np.uint64))

    def release(self) -> None:
        self._buffer = np.empty(0, np.uint8)
        self._kinds = {}


def _kind(weight: Tensor) -> _Kind:
    return weight.dtype, weight.numel(), None if weight.is_contiguous() else weight.stride()


def _room(parameter: Tensor) -> int:
    return parameter.numel() * parameter.element_size()


def _entries_here(parameter: Tensor) -> int:
    """Number of entries that this process holds: of a shard, those of the shard."""
    return (local_shard(parameter) if is_distributed(parameter) else parameter).numel()
