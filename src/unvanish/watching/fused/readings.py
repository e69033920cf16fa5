"""What a pass over memory hands back: numbers that are there, or on their way from a device."""

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from unvanish.recording.records import Counts, Floats

Wide = NDArray[np.float64]


class Arrival(Protocol):
    """Numbers of one step that a device still holds."""

    def ready(self) -> bool:
        """Whether they can be read without waiting; sends nothing for and waits for nothing."""
        ...

    def fetch(self) -> NDArray[np.float64]:
        """The numbers, after waiting for them if need be."""
        ...


class GradientReadings:
    """Statistics of the gradients of one step.

    ``values`` maps a statistic to float32 of shape (tensors,), NaN where there was no gradient;
    ``histogram`` is uint32 of shape (tensors, 64) or ``None`` if it was not asked for. ``local``
    says that at least one tensor is a shard of a distributed one, read without its other parts.

    With gradients on the CPU the numbers are there at once. With gradients on a device they come
    later: :meth:`ready` says whether reading ``values`` would wait, and never waits itself.
    """

    def __init__(
        self,
        finish: Callable[[], tuple[dict[str, Floats], Counts | None]],
        waiting_for: tuple[Arrival, ...] = (),
        local: bool = False,
    ) -> None:
        self.local = local
        self._finish = finish
        self._waiting_for = waiting_for
        self._done: tuple[dict[str, Floats], Counts | None] | None = None

    def ready(self) -> bool:
        """Whether the numbers are there; where they were read on the CPU, always."""
        return self._done is not None or all(arrival.ready() for arrival in self._waiting_for)

    def fetch(self) -> "GradientReadings":
        """Wait for the numbers if they are not there yet."""
        if self._done is None:
            self._done = self._finish()
            self._waiting_for = ()
        return self

    @property
    def values(self) -> dict[str, Floats]:
        """Statistic to float32 (tensors,); waits if they are not :meth:`ready`."""
        done = self.fetch()._done
        assert done is not None
        return done[0]

    @property
    def histogram(self) -> Counts | None:
        """uint32 (tensors, 64); waits if it is not :meth:`ready`."""
        done = self.fetch()._done
        assert done is not None
        return done[1]


class UpdateReadings(Mapping[str, Floats]):
    """``weight_rms`` and ``update_to_weight`` of one step: a mapping that may still be on its way.

    Looking anything up waits if need be; :meth:`ready` never does.
    """

    def __init__(
        self, finish: Callable[[], dict[str, Floats]], waiting_for: tuple[Arrival, ...] = ()
    ) -> None:
        self._finish = finish
        self._waiting_for = waiting_for
        self._done: dict[str, Floats] | None = None
        if not waiting_for:
            self.fetch()

    def ready(self) -> bool:
        """Whether the numbers are there; where they were read on the CPU, always."""
        return self._done is not None or all(arrival.ready() for arrival in self._waiting_for)

    def fetch(self) -> dict[str, Floats]:
        """The numbers, after waiting for them if they are not there yet."""
        if self._done is None:
            self._done = self._finish()
            self._waiting_for = ()
        return self._done

    def __getitem__(self, statistic: str) -> Floats:
        return self.fetch()[statistic]

    def __iter__(self) -> Iterator[str]:
        return iter(("weight_rms", "update_to_weight"))

    def __len__(self) -> int:
        return 2
