"""Boards that follow a watch live: each may fail, and then it is left out with one word in the log."""

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from unvanish.recording import Event, StepReading, TensorEntry

LOG = logging.getLogger("unvanish")


class Sink(Protocol):
    """Something that takes readings and events as they come."""

    def write(self, reading: StepReading, tensors: Sequence[TensorEntry]) -> None: ...

    def event(self, event: Event) -> None: ...

    def close(self) -> None: ...


class Sinks:
    """The sinks of one watch."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = list(sinks)

    def write(self, reading: StepReading, tensors: Sequence[TensorEntry]) -> None:
        """Hand on a reading."""
        self._each(lambda sink: sink.write(reading, tensors))

    def event(self, event: Event) -> None:
        """Hand on an event."""
        self._each(lambda sink: sink.event(event))

    def close(self) -> None:
        """Let every board finish."""
        self._each(lambda sink: sink.close())
        self._sinks.clear()

    def _each(self, call: Callable[[Sink], None]) -> None:
        for sink in list(self._sinks):
            try:
                call(sink)
            except Exception as error:
                self._sinks.remove(sink)
                LOG.warning("%s is not written to any more: %s", type(sink).__name__, error)
