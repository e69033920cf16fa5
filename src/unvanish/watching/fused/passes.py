"""Everything that a watch reads of gradients and weights, for whatever tensors there are."""

import importlib.util
import logging
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from unvanish.errors import BadInput
from unvanish.recording.records import Counts, Floats
from unvanish.recording.statistics import HISTOGRAM_BINS
from unvanish.watching.fused.compiled import Compiled, Table
from unvanish.watching.fused.finish import NARROW_SCALES, SUMS, Wide, gradient_statistics
from unvanish.watching.fused.kinds import KINDS
from unvanish.watching.fused.memory import Stored, stored
from unvanish.watching.fused.on_device import OnDevice
from unvanish.watching.fused.readings import GradientReadings, UpdateReadings
from unvanish.watching.fused.ring import Seat
from unvanish.watching.fused.weights import Weights

LOG = logging.getLogger("unvanish")

Engine = Literal["numba", "torch", "device"]


class Passes:
    """Reads a fixed list of tensors; made once for a watch, remade when tensors are added.

    ``parameters`` are the watched tensors; their order is that of all readings. ``engine`` forces
    what reads CPU tensors: ``"numba"`` (compiled, one pass), ``"torch"`` (the same numbers in
    several passes), ``"device"`` (as on an accelerator: numbers arrive later). Left out, it is
    numba where that is installed. ``copy_limit`` bounds, in bytes, the copy of the weights that an
    update is measured against; where all weights do not fit, the steps take turns.

    Making one may compile kernels: seconds the first time on a machine. No reading changes a
    tensor or keeps one alive, and addresses are looked up anew each time.
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        *,
        engine: Engine | None = None,
        copy_limit: int = 1 << 30,
    ) -> None:
        self._many = len(parameters)
        dtypes = {p.dtype for p in parameters if p.is_cpu}
        self._compiled: Compiled | None = None
        if engine == "numba":
            self._compiled = Compiled(dtypes)
        elif engine is None:
            self._compiled = _compiled_if_possible(dtypes)
        self.engine: str = engine or ("numba" if self._compiled else "torch")
        self._devices: dict[torch.device, OnDevice] = {}
        self._weights = Weights(parameters, self._compiled, self._device, copy_limit)

    @torch.no_grad()
    def gradients(
        self, gradients: Sequence[Tensor | None], *, histogram: bool, scale: float = 1.0
    ) -> GradientReadings:
        """Read one gradient for each parameter; ``None`` and what has no memory gives NaN.

        All are divided by ``scale`` (a loss scale), exactly. Errors: :class:`BadInput` where the
        number of gradients is another than that of parameters, or the scale is not positive.
        """
        self._check(gradients, scale)
        found = _Found(gradients)
        if not NARROW_SCALES[0] <= scale <= NARROW_SCALES[1]:
            found.divide(scale)
            scale = 1.0
        if self._compiled is not None and found.plain and len(found.columns) == self._many:
            # As in nearly every step on a CPU: one call, and its rows are the columns.
            sums, counts = self._compiled.sums(found.table, histogram=histogram, scale=scale)
            entries = np.array(found.table.sizes, np.float64)
            return GradientReadings(lambda: (gradient_statistics(sums, entries, scale), counts))
        return self._gathered(found, histogram, scale)

    def _gathered(self, found: "_Found", histogram: bool, scale: float) -> GradientReadings:
        """Of gradients of different kinds, in different places, some of them missing."""
        entries = np.ones(self._many)
        entries[found.columns] = found.entries
        sums = np.full((self._many, SUMS), np.nan)
        counts = np.zeros((self._many, HISTOGRAM_BINS), np.uint32) if histogram else None
        late: list[tuple[list[int], Seat]] = []
        unstored, unsigned = found.unstored, found.unsigned  # and nothing that holds a tensor
        for device, places in found.places().items():
            columns = [found.columns[place] for place in places]
            tensors = [found.tensors[place] for place in places]
            if device.type == "cpu" and self._compiled is not None:
                table = found.table if len(places) == len(found.tensors) else Table.of(tensors)
                read, bins = self._compiled.sums(table, histogram=histogram, scale=scale)
                _set(columns, read, bins, sums, counts)
            else:
                late.append((columns, self._device(device).gradients(tensors, histogram, scale)))

        def finish() -> tuple[dict[str, Floats], Counts | None]:
            for columns, seat in late:
                numbers = seat.fetch()
                edge = len(columns) * SUMS
                bins = numbers[edge:].reshape(-1, HISTOGRAM_BINS) if histogram else None
                _set(columns, numbers[:edge].reshape(-1, SUMS), bins, sums, counts)
            for column, zeros in unstored:
                sums[column, 3] += zeros
            return gradient_statistics(sums, entries, scale, unsigned), counts

        waiting = tuple(seat for _, seat in late)
        if all(seat.ready() for seat in waiting):
            waiting = ()
        return GradientReadings(finish, waiting, found.local)

    @torch.no_grad()
    def before_step(self) -> None:
        """Keep what is needed to know the real update; call it right before the optimizer steps."""
        self._weights.before_step()

    @torch.no_grad()
    def after_step(self) -> UpdateReadings:
        """``weight_rms`` before the step and ``update_to_weight`` of it, NaN where not known."""
        return self._weights.after_step()

    def send(self) -> None:
        """Begin to bring over from devices what was read so far; returns at once."""
        for device in self._devices.values():
            device.send()

    def release(self) -> None:
        """Let go of the copies of the weights; the next :meth:`before_step` makes them anew."""
        self._weights.release()

    def _check(self, gradients: Sequence[Tensor | None], scale: float) -> None:
        if len(gradients) != self._many:
            raise BadInput(
                f"{len(gradients)} gradients were given for {self._many} watched tensors; "
                "give one for each (None where there is none)."
            )
        if not 0 < scale < float("inf"):
            raise BadInput(f"a loss scale is a positive number, not {scale}; leave it out if none.")

    def _device(self, device: torch.device) -> OnDevice:
        if device not in self._devices:
            steps = 1 if device.type == "cpu" and self.engine != "device" else _STEPS_TOGETHER
            self._devices[device] = OnDevice(device, self._many, steps)
        return self._devices[device]


_STEPS_TOGETHER = 16
"""Steps whose readings are brought over from a device in one copy."""


class _Found:
    """The gradients of one step that can be read, and in which columns they belong."""

    def __init__(self, gradients: Sequence[Tensor | None]) -> None:
        self.unstored: list[tuple[int, int]] = []
        self.unsigned: list[int] = []
        self.local, self._elsewhere = False, False
        present = {c: gradient for c, gradient in enumerate(gradients) if gradient is not None}
        table = Table.if_plain(list(present.values()))
        self.plain = table is not None
        if table is not None:
            self.columns, self.tensors, self.table = [*present], [*present.values()], table
            return
        self.columns, self.tensors, self.table = list[int](), list[Tensor](), Table()
        for column, gradient in present.items():
            self._add(column, stored(gradient))

    @property
    def entries(self) -> list[int]:
        """Number of entries of each, those that a sparse layout leaves out among them."""
        counts = dict(zip(self.columns, self.table.sizes, strict=True))
        for column, zeros in self.unstored:
            counts[column] += zeros
        return list(counts.values())

    def _add(self, column: int, found: Stored | None) -> None:
        if found is None:
            return
        self.columns.append(column)
        self.tensors.append(found.tensor)
        self.table.addresses.append(found.tensor.data_ptr())
        self.table.sizes.append(found.tensor.numel())
        self.table.kinds.append(KINDS[found.tensor.dtype])
        self.local = self.local or found.local
        self._elsewhere = self._elsewhere or not found.tensor.is_cpu
        if found.unstored:
            self.unstored.append((column, found.unstored))
        if found.unsigned:
            self.unsigned.append(column)

    def divide(self, scale: float) -> None:
        """Divide every entry, for a scale that exponents alone cannot take."""
        self.tensors = [tensor.to(torch.float64) / scale for tensor in self.tensors]
        self.table = Table.of(self.tensors)

    def places(self) -> dict[torch.device, list[int]]:
        """Which of the tensors are on which device."""
        if not self._elsewhere:
            return {torch.device("cpu"): list(range(len(self.tensors)))} if self.tensors else {}
        places: dict[torch.device, list[int]] = {}
        for place, tensor in enumerate(self.tensors):
            places.setdefault(tensor.device, []).append(place)
        return places


def _set(
    columns: list[int], read: Wide, bins: Wide | Counts | None, sums: Wide, counts: Counts | None
) -> None:
    sums[columns] = read
    if counts is not None and bins is not None:
        counts[columns] = bins.astype(np.uint32)


def _compiled_if_possible(dtypes: set[torch.dtype]) -> Compiled | None:
    if importlib.util.find_spec("numba") is None:
        return None
    try:
        return Compiled(dtypes)
    except Exception as error:  # made for another numpy, another processor, another Python
        LOG.info("numba does not work here (%s), so torch reads, in more passes.", error)
        return None
