"""What all boards have in common: few rows, few points a second, never in the training's way."""

import logging
import math
import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from unvanish.recording.blocks import Blocks
from unvanish.recording.records import Event, StepReading, TensorEntry

_log = logging.getLogger("unvanish")

SHOWN: Final = ("gradient_rms", "update_to_weight", "gradient_zero_share")
"""Of each block; each is a section of its own on a board."""
MOST_WAITING: Final = 64
FAREWELL: Final = 20.0


class Board(ABC):
    """A live board. Gets at most one step in ``seconds``, and histograms ten times more rarely.

    What a board's library takes for a call (a request over the network, at times) happens in a
    thread of its own. A board that raises is said once and left alone from then on.

    Args:
        rows: the most rows that tensors are grouped into (see :mod:`unvanish.recording.blocks`).
        seconds: the shortest time between two steps that are shown; 0 shows all of them.
    """

    def __init__(self, *, rows: int = 20, seconds: float = 1.0) -> None:
        self._rows = rows
        self._seconds = seconds
        self._next = self._next_histogram = 0.0
        self._blocks: tuple[int, Blocks] | None = None
        self._calls: list[Callable[[], None]] = []
        self._some = threading.Condition()
        self._closing = False
        self._failed = False
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._run, name="unvanish-board", daemon=True)
        self._thread.start()

    @abstractmethod
    def show(self, step: int, numbers: Mapping[str, float]) -> None:
        """Put finite numbers on the board; names are ``section/row``."""

    @abstractmethod
    def tell(self, event: Event) -> None:
        """Put an event on the board."""

    def show_histograms(self, step: int, counts: Mapping[str, NDArray[np.uint64]]) -> None:
        """Put log2-magnitude histograms on the board, 64 counts a row; not every board can."""
        return

    def finish(self) -> None:
        """Nothing more will come."""
        return

    def write(self, reading: StepReading, tensors: Sequence[TensorEntry]) -> None:
        """Show a step, unless one was shown a moment ago."""
        now = time.monotonic()
        if now < self._next or os.getpid() != self._process:
            return
        self._next = now + self._seconds
        blocks = self._grouped(tensors)
        numbers = board_numbers(reading, blocks)
        step = reading.step
        self._later(lambda: self.show(step, numbers))
        if reading.histogram is not None and now >= self._next_histogram:
            self._next_histogram = now + 10 * self._seconds
            rows = dict(zip(blocks.names, blocks.counts(reading.histogram), strict=True))
            self._later(lambda: self.show_histograms(step, rows))

    def event(self, event: Event) -> None:
        """Show an event; these are never left out."""
        if os.getpid() == self._process:
            self._later(lambda: self.tell(event), always=True)

    def close(self) -> None:
        """Show what still waits and let go. Can be called again."""
        if os.getpid() != self._process or self._closing:
            return
        with self._some:
            self._closing = True
            self._some.notify()
        self._thread.join(FAREWELL)

    def _grouped(self, tensors: Sequence[TensorEntry]) -> Blocks:
        if self._blocks is None or self._blocks[0] != len(tensors):
            self._blocks = len(tensors), Blocks(tensors, self._rows)
        return self._blocks[1]

    def _later(self, call: Callable[[], None], always: bool = False) -> None:
        with self._some:
            if not self._failed and (always or len(self._calls) < MOST_WAITING):
                self._calls.append(call)
                self._some.notify()

    def _run(self) -> None:
        while True:
            with self._some:
                self._some.wait_for(lambda: self._calls or self._closing)
                calls, self._calls = self._calls, []
            try:
                for call in calls:
                    call()
                if self._closing and not calls:
                    self.finish()
                    return
            except Exception as error:
                with self._some:
                    self._failed = True
                    self._calls = []
                name = type(self).__name__
                _log.warning("%s gets nothing any more: %s", name, error)
                return


def board_numbers(reading: StepReading, blocks: Blocks) -> dict[str, float]:
    """A step as ``section/row`` and finite numbers: three sections of blocks, one of totals.

    A number that is not finite is left out: boards keep such numbers in ways that break the rest.
    How many entries of gradients were not finite is itself a number.
    """
    of_blocks = blocks.of(reading.values)
    numbers = {
        f"unvanish.{statistic}/{name}": float(value)
        for statistic in SHOWN
        if statistic in of_blocks
        for name, value in zip(blocks.names, of_blocks[statistic], strict=True)
    }
    for name, value in reading.scalars.items():
        numbers[f"unvanish/{name}"] = float(value)
    if "gradient_nonfinite" in of_blocks:
        numbers["unvanish/gradient_nonfinite"] = float(np.nansum(of_blocks["gradient_nonfinite"]))
    if "gradient_l2" in of_blocks and "gradient_l2" not in reading.scalars:
        read = of_blocks["gradient_l2"][~np.isnan(of_blocks["gradient_l2"])]
        numbers["unvanish/gradient_l2"] = float(np.sqrt(np.square(read).sum()))
    return {name: number for name, number in numbers.items() if math.isfinite(number)}


def sentence(event: Event) -> str:
    """An event in one line."""
    where = f" in {event.where[0]}" if event.where else ""
    more = f" and {len(event.where) - 1} more" if len(event.where) > 1 else ""
    detail = f": {event.detail}" if event.detail else ""
    return f"step {event.step}: {event.kind} {event.name}{where}{more}{detail}"
