"""Which of several processes this is, and what part of each tensor it holds.

Watching sends nothing between processes, so it can hang none of them: each writes what it sees into
a file of its own, and the files are joined when they are read (:mod:`unvanish.recording.joined`).
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unvanish.shards import is_distributed, local_shard


@dataclass(frozen=True, slots=True)
class Place:
    """One process among ``world`` that train together; ``group`` is the same for all of them."""

    rank: int
    world: int
    group: str

    def folder(self, to: Path) -> Path:
        """Where this process writes: the first one where it was told to, the others inside of it."""
        return to if self.rank == 0 else to / f"rank-{self.rank}"

    @property
    def spoken(self) -> str:
        """What stands before a line of a log to which all processes write; empty if alone."""
        return f"rank {self.rank}: " if self.world > 1 else ""


def place() -> Place:
    """This process's place; alone where nothing is distributed."""
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized()):
        return Place(0, 1, "")
    keys = ("TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT")
    group = ":".join(os.environ.get(key, "") for key in keys)
    return Place(distributed.get_rank(), distributed.get_world_size(), group)


def held(parameters: Mapping[str, Tensor], model: nn.Module) -> dict[str, dict[str, Any]]:
    """Of each tensor of which this process holds a part only: how it is placed, how much is here."""
    parts: dict[str, dict[str, Any]] = {}
    flat = _stretches(model)
    for name, parameter in parameters.items():
        if id(parameter) in flat:
            parts[name] = {**flat[id(parameter)], "elements": parameter.numel()}
        if not is_distributed(parameter):
            continue
        placements: Any = getattr(parameter, "placements", ())
        mesh: Any = getattr(parameter, "device_mesh", None)
        coordinates = list(mesh.get_coordinate() or ()) if mesh is not None else []
        parts[name] = {
            "placements": [str(one) for one in placements],
            # Not is_shard(): the shard of a shard (FSDP2 over tensor parallel) denies being one.
            "sharded": [getattr(one, "dim", None) is not None for one in placements],
            "coordinates": [int(one) for one in coordinates],
            "mesh": [int(size) for size in mesh.shape] if mesh is not None else [],
            "elements": local_shard(parameter).numel(),
        }
    return parts


def _stretches(model: nn.Module) -> dict[int, dict[str, Any]]:
    """By ``id``, what FSDP1 has laid end to end into one flat tensor: a stretch in each process.

    A stretch may be empty, or end in the middle of a row.
    """
    found: dict[int, dict[str, Any]] = {}
    for module in model.modules():
        handle: Any = getattr(module, "_handle", None)
        flat: Any = getattr(handle, "flat_param", None)
        if not isinstance(flat, Tensor) or not handle.uses_sharded_strategy:
            continue
        placed: dict[str, Any] = {
            "placements": ["Flat()"],
            "sharded": [True],
            "coordinates": [int(handle.rank)],
            "mesh": [int(handle.world_size)],
        }
        own: Any = flat
        for parameter in (flat, *(own._params or ())):
            found[id(parameter)] = placed
    return found
