"""Readings of many steps on a device, brought over together and without waiting for it.

A block holds the readings of several steps. It is copied to pinned memory when it is full or when
somebody asks; an event on the stream says when the copy has landed. No step ever waits.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Block:
    """Readings of ``steps`` steps: numbers on the device, and the memory they will be copied to."""

    def __init__(self, steps: int, width: int, dtype: torch.dtype, device: torch.device) -> None:
        self.held = torch.zeros((steps, width), dtype=dtype, device=device)
        pinned = device.type == "cuda"
        self._landing = torch.zeros((steps, width), dtype=dtype, pin_memory=pinned)
        self._event: torch.Event | None = None
        self._arrived: NDArray[np.float64] | None = None
        self.used = 0
        self.sent = False

    def send(self) -> None:
        """Begin the copy; returns at once."""
        if self.sent:
            return
        self._landing.copy_(self.held, non_blocking=True)
        self.sent = True
        if self.held.device.type != "cpu":
            self._event = torch.Event(self.held.device)
            self._event.record(torch.accelerator.current_stream(self.held.device))

    def landed(self) -> bool:
        """Whether the copy is complete; never waits."""
        return self.sent and (self._event is None or bool(self._event.query()))

    def numbers(self) -> NDArray[np.float64]:
        """Everything in the block as float64, after waiting for it if need be."""
        if self._arrived is None:
            self.send()
            if self._event is not None:
                self._event.synchronize()
            self._arrived = self._landing.numpy().astype(np.float64)
        return self._arrived


class Seat:
    """The reading of one step inside a block."""

    def __init__(self, block: Block, row: int, width: int) -> None:
        self._block, self._row, self._width = block, row, width

    def ready(self) -> bool:
        """Whether the numbers have arrived; never waits."""
        return self._block.landed()

    def fetch(self) -> NDArray[np.float64]:
        """The numbers, flat, after waiting for them if need be."""
        return self._block.numbers()[self._row, : self._width]


class Ring:
    """Takes the readings of one device, step after step, for ``steps`` steps at a time."""

    def __init__(
        self, width: int, device: torch.device, dtype: torch.dtype, steps: int = 16
    ) -> None:
        self._width, self._steps, self._device, self._dtype = width, steps, device, dtype
        self._block: Block | None = None

    def put(self, parts: Sequence[Tensor]) -> Seat:
        """Take the numbers of a step, all parts in one row; they stay on the device for now."""
        if self._block is None or self._block.sent:
            self._block = Block(self._steps, self._width, self._dtype, self._device)
        block = self._block
        line = torch.cat([part.reshape(-1).to(self._dtype) for part in parts])
        seat = Seat(block, block.used, line.numel())
        block.held[block.used, : line.numel()].copy_(line)
        block.used += 1
        if block.used == self._steps:
            block.send()
        return seat

    def send(self) -> None:
        """Begin to bring over what was read so far; returns at once."""
        if self._block is not None:
            self._block.send()
