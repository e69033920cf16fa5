"""What waits to be written. Bounded: a slow disk costs detail, never memory, never time."""

import threading
from dataclasses import dataclass, field

from unvanish.recording import layout
from unvanish.recording.records import Event, StepReading, TensorEntry


@dataclass(slots=True)
class Packed:
    """A step's reading as bytes; the arrays it was made of may change afterwards."""

    step: int
    seconds: float
    stage: str
    scalars: dict[str, float]
    numbers: dict[str, bytes]
    histogram: bytes | None

    @property
    def size(self) -> int:
        return sum(map(len, self.numbers.values())) + len(self.histogram or b"") + 256


@dataclass(slots=True)
class Look:
    """A step that was observed in full."""

    step: int
    diagnosis: str


@dataclass(slots=True)
class Waiting:
    """Somebody waits until everything before this has been written."""

    done: threading.Event = field(default_factory=threading.Event)


Item = Packed | Event | Look | TensorEntry | Waiting


def pack(reading: StepReading) -> Packed:
    """A copy of the reading as what will lie on disk."""
    numbers = {name: layout.floats_to_bytes(array) for name, array in reading.values.items()}
    counts = reading.histogram
    return Packed(
        step=int(reading.step),
        seconds=float(reading.seconds),
        stage=str(reading.stage),
        scalars={str(name): float(value) for name, value in reading.scalars.items()},
        numbers=numbers,
        histogram=None if counts is None else layout.counts_to_bytes(counts),
    )


class Backlog:
    """Items in order, from any thread to the one that writes.

    Where more than ``most_bytes`` wait, the oldest waiting histogram goes first, then the oldest
    readings' numbers; where more than ``most_items`` wait, the oldest steps go with their scalars.
    ``lost`` counts what went. Events, looks and new tensors are never dropped.
    """

    def __init__(self, most_bytes: int, most_items: int = 100_000) -> None:
        self._most_bytes = most_bytes
        self._most_items = most_items
        self._lock = threading.Lock()
        self._items: list[Item] = []
        self._bytes = 0
        self._hurry = threading.Event()
        self.lost = {"histograms": 0, "readings": 0, "steps": 0}

    def put(self, item: Item, hurry: bool = False) -> None:
        """Add one item; returns at once."""
        size = item.size if isinstance(item, Packed) else 0
        with self._lock:
            self._items.append(item)
            self._bytes += size
            if self._bytes > self._most_bytes or len(self._items) > self._most_items:
                self._drop()
            # Half full is reason enough to write now instead of waiting for more to write at once.
            hurry = hurry or self._bytes > self._most_bytes // 2
        if hurry:
            self._hurry.set()

    def hurry(self) -> None:
        """Let :meth:`take` return now."""
        self._hurry.set()

    def take(self, pause: float) -> list[Item]:
        """Everything that waits after ``pause`` seconds, or as soon as somebody is in a hurry.

        It looks by itself rather than being woken by what comes: waking a thread costs the training,
        in whose step it would happen, a call of the system and often its place on the processor.
        """
        self._hurry.wait(pause)
        return self.drain()

    def drain(self) -> list[Item]:
        """Everything that waits, at once."""
        with self._lock:
            items, self._items, self._bytes = self._items, [], 0
            self._hurry.clear()
        return items

    def _drop(self) -> None:
        packed = [item for item in self._items if isinstance(item, Packed)]
        for item in packed:
            if self._bytes <= self._most_bytes // 2:
                break
            if item.histogram is not None:
                self._bytes -= len(item.histogram)
                item.histogram = None
                self.lost["histograms"] += 1
        for item in packed[:-1]:
            if self._bytes <= self._most_bytes // 2:
                break
            if item.numbers:
                self._bytes -= sum(map(len, item.numbers.values()))
                item.numbers = {}
                self.lost["readings"] += 1
        if len(self._items) > self._most_items:
            gone = {id(item) for item in packed[: self._most_items // 10]}
            self._items = [item for item in self._items if id(item) not in gone]
            self._bytes -= sum(item.size for item in packed if id(item) in gone)
            self.lost["steps"] += len(gone)
