"""The recordings of processes that trained together, read as one.

Sums, counts, extremes and histograms of parts add up exactly to those of the whole tensor. What
every process holds whole is read from the first one, and the others are compared with it: replicas
that no longer agree are an event, with the process named.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unvanish.recording.files import recordings_in
from unvanish.recording.parts import NEEDS, common, join
from unvanish.recording.queries import Steps
from unvanish.recording.reader import Recording
from unvanish.recording.records import Event, Floats, TensorEntry
from unvanish.recording.replicas import (
    agree_at_first,
    of_ranks,
    over_at_last,
    parted,
    stopped,
    values_of,
)


def with_mates(first: Recording) -> Recording:
    """A recording with those of all processes that trained together with it; itself if alone.

    Raises:
        BadInput: one of them cannot be read.
    """
    conditions = first.conditions
    if conditions.get("world", 1) == 1 or conditions.get("rank", 0) != 0:
        return first
    others: list[Recording] = []
    for rank in range(1, int(conditions["world"])):
        mate = _mate(first, Path(first.path).parent / f"rank-{rank}")
        if mate is not None:
            others.append(mate)
    parted = others or conditions.get("parts")
    return JoinedRecording([first, *others]) if parted else first


def _mate(first: Recording, folder: Path) -> Recording | None:
    """What another process wrote in the same training: of its group, begun at about that time."""
    group, started = first.conditions.get("group"), datetime.fromisoformat(first.started)
    found: list[tuple[float, Recording]] = []
    for file in recordings_in(folder) if folder.is_dir() else ():
        recording = Recording.open(file)
        if recording.conditions.get("group") == group:
            apart = datetime.fromisoformat(recording.started) - started
            found.append((abs(apart.total_seconds()), recording))
    return min(found, key=lambda one: one[0])[1] if found else None


class JoinedRecording(Recording):
    """Several recordings of one training, the first process's first.

    It reads as :class:`Recording` does. A tensor that is no replica and no shard (a stage of a
    pipeline) bears its own name, or ``rank-1.name`` where the first process has one of that name.
    """

    def __init__(self, ranks: Sequence[Recording]) -> None:
        first = ranks[0]
        super().__init__(first._file._connection, Path(first.path))
        self._ranks = tuple(ranks)

    @property
    def ranks(self) -> tuple[Recording, ...]:
        return self._ranks

    def close(self) -> None:
        """Close every file."""
        for recording in self.ranks:
            recording.close()

    @cached_property
    def _places(self) -> dict[str, list[tuple[int, str]]]:
        """For each tensor: in which recordings it is, and under which name there."""
        places: dict[str, list[tuple[int, str]]] = {}
        for rank, recording in enumerate(self.ranks):
            for name in recording.tensors:
                if rank == 0 or name not in places or self._together(rank, name):
                    places.setdefault(name, []).append((rank, name))
                else:
                    places.setdefault(f"rank-{self._number(rank)}.{name}", []).append((rank, name))
        return places

    def _together(self, rank: int, name: str) -> bool:
        """Whether this process's tensor is a shard or a replica of the first one's of that name."""
        if name in self._parts(rank):
            return True
        one, other = self.ranks[0], self.ranks[rank]
        return name in one.tensors and agree_at_first(one, other, name)

    def _parts(self, rank: int) -> dict[str, Any]:
        return self.ranks[rank].conditions.get("parts", {})

    def _number(self, rank: int) -> int:
        return int(self.ranks[rank].conditions.get("rank", rank))

    @property
    def tensors(self) -> tuple[str, ...]:
        return tuple(self._places)

    @property
    def entries(self) -> tuple[TensorEntry, ...]:
        known = [{entry.name: entry for entry in one.entries} for one in self.ranks]
        return tuple(
            replace(known[places[0][0]][places[0][1]], name=name)
            for name, places in self._places.items()
        )

    def values(self, statistic: str, tensor: str) -> tuple[Steps, NDArray[Any]]:
        """One statistic of one whole tensor, at the steps at which every part of it was read."""
        places = self._places.get(tensor)
        if places is None:
            return super().values(statistic, tensor)  # says which names are near
        shards = self._shards(places)
        if len(shards) < self._wanted(*places[0]):
            steps, values = self.ranks[shards[0][0]].values(statistic, shards[0][1])
            return steps[:0], values[:0]
        if len(shards) == 1:
            return self.ranks[shards[0][0]].values(statistic, shards[0][1])
        return self._whole(statistic, shards)

    def _shards(self, places: list[tuple[int, str]]) -> list[tuple[int, str]]:
        """Those that together are the tensor, each part once; one of them where all hold it whole."""
        chosen: dict[tuple[Any, ...], tuple[int, str]] = {}
        for rank, name in places:
            chosen.setdefault(self._share(rank, name), (rank, name))
        return list(chosen.values())

    def _share(self, rank: int, name: str) -> tuple[Any, ...]:
        """Which share of the tensor this process holds; the same for those that hold the same."""
        part = self._parts(rank).get(name)
        if part is None:
            return ()
        split = zip(part["coordinates"], part["sharded"], strict=False)
        return tuple(at for at, sharded in split if sharded)

    def _wanted(self, rank: int, name: str) -> int:
        """How many shares make up the tensor; some may be missing where not every process records."""
        part = self._parts(rank).get(name, {})
        sizes = zip(part.get("mesh", ()), part.get("sharded", ()), strict=False)
        return prod(size for size, sharded in sizes if sharded)

    def _whole(self, statistic: str, shards: list[tuple[int, str]]) -> tuple[Steps, NDArray[Any]]:
        read = {kind: self._read(kind, shards) for kind in NEEDS.get(statistic, (statistic,))}
        if not any(len(at) for parts in read.values() for at, _ in parts):
            return self.ranks[shards[0][0]].values(statistic, shards[0][1])  # says what there is
        steps = common([found[0] for parts in read.values() for found in parts])
        aligned = {
            kind: [values[np.isin(at, steps)].astype(np.float64) for at, values in parts]
            for kind, parts in read.items()
        }
        sizes = [float(self._parts(rank)[name]["elements"]) for rank, name in shards]
        whole = join(statistic, aligned, [size for size in sizes if size])
        return steps, whole.astype(np.uint32 if statistic.endswith("histogram") else np.float32)

    def _read(self, kind: str, shards: list[tuple[int, str]]) -> list[tuple[Steps, NDArray[Any]]]:
        # A process may hold an empty part: of that there is nothing to read and nothing to wait for.
        return [
            values_of(self.ranks[rank], kind, name)
            for rank, name in shards
            if self._parts(rank)[name]["elements"]
        ]

    @property
    def scalar_names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for one in self.ranks for name in one.scalar_names))

    def scalars(self, name: str) -> tuple[Steps, NDArray[np.float64]]:
        """As :meth:`Recording.scalars`, of the first process that has it: stages have one loss."""
        first = self.ranks[0]
        knows = next((one for one in self.ranks if name in one.scalar_names), first)
        return super().scalars(name) if knows is first else knows.scalars(name)

    def matrix(
        self,
        statistic: str,
        first: int | None = None,
        last: int | None = None,
        at_most: int | None = None,
        steps: Sequence[int] | Steps | None = None,
    ) -> tuple[Steps, Floats]:
        """As :meth:`Recording.matrix`, of whole tensors."""
        read, table = super().matrix(statistic, first, last, at_most, steps)
        whole = np.full((len(read), len(self.tensors)), np.nan, np.float32)
        whole[:, : table.shape[1]] = table[:, : whole.shape[1]]
        for column, name in enumerate(self.tensors):
            shared = self._wanted(*self._places[name][0]) > 1
            if shared or self._places[name][0][0] != 0:
                at, values = self.values(statistic, name)
                whole[:, column] = np.nan
                rows = np.isin(read, at)
                whole[rows, column] = values[np.isin(at, read)]
        return read, whole

    @property
    def events(self) -> tuple[Event, ...]:
        """Those of all processes, each once; of what only some met, the processes are named.

        An alarm is over when it is over in all of them.
        """
        met: dict[tuple[str, str, int], tuple[Event, list[int]]] = {}
        for rank, recording in enumerate(self.ranks):
            for event in recording.events:
                key = event.kind, event.name, event.step
                met.setdefault(key, (event, []))[1].append(self._number(rank))
        in_order = sorted(met.values(), key=lambda one: one[0].step)
        said = [of_ranks(event, ranks, len(self.ranks)) for event, ranks in over_at_last(in_order)]
        return tuple(sorted([*said, *self.disagreements()], key=lambda event: event.step))

    def disagreements(self) -> list[Event]:
        """Replicas whose gradients part, and processes that stopped before the others."""
        found: list[Event] = []
        for name, places in self._places.items():
            alike: dict[tuple[Any, ...], list[tuple[int, Recording]]] = {}
            for rank, own in places:
                replicas = alike.setdefault(self._share(rank, own), [])
                replicas.append((self._number(rank), self.ranks[rank]))
            for replicas in alike.values():
                found += parted(replicas, name) if len(replicas) > 1 else []
        earliest: dict[int, Event] = {}
        for event in sorted(found, key=lambda event: event.step):
            earliest.setdefault(int(event.evidence["rank"]), event)
        numbered = [(self._number(rank), one) for rank, one in enumerate(self.ranks)]
        return [*earliest.values(), *stopped(numbered)]
