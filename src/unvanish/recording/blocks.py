"""Blocks: tensors grouped into few rows by the leading parts of their names.

A board with a row for each of 10,000 tensors is read by nobody. A block is a module that holds
others' parameters, or a range of alike neighbours where there are too many.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from unvanish.recording.records import TensorEntry

Numbers = NDArray[np.float64]
Columns = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Block:
    """Some tensors under one name; ``columns`` are their places among all, ascending."""

    name: str
    columns: Columns


@dataclass(slots=True)
class _Node:
    """A module by its dotted name: its own tensors and the modules inside."""

    name: str
    own: list[int] = field(default_factory=list[int])
    inside: dict[str, "_Node"] = field(default_factory=dict[str, "_Node"])

    def columns(self) -> list[int]:
        return sorted([*self.own, *(c for node in self.inside.values() for c in node.columns())])

    def parts(self) -> list["_Node"]:
        """What it falls into: the modules inside, and its own tensors together."""
        own = [_Node(self.name, self.own)] if self.own else []
        return [*own, *self.inside.values()]


def blocks_of(names: Sequence[str], most: int = 20) -> tuple[Block, ...]:
    """At most ``most`` blocks that together hold every tensor once, in the order of the model.

    Modules are opened level by level as long as there is room, alike neighbours together; where
    one level has too many (a stack of 100 layers), neighbours are joined. The weight and the bias
    of one layer stay together.

    >>> names = [f"h.{i}.{part}.{w}" for i in range(2) for part in ("a", "b") for w in "wb"]
    >>> [block.name for block in blocks_of([*names, "head.w"], 5)]
    ['h.0.a', 'h.0.b', 'h.1.a', 'h.1.b', 'head']
    >>> [block.name for block in blocks_of([*names, "head.w"], 4)]
    ['h.0', 'h.1', 'head']
    >>> [block.name for block in blocks_of([f"{i}.weight" for i in range(100)], 4)]
    ['0 ... 24', '25 ... 49', '50 ... 74', '75 ... 99']
    """
    root = _Node("")
    for column, name in enumerate(names):
        node = root
        for depth, part in enumerate(parts := name.split(".")[:-1]):
            node = node.inside.setdefault(part, _Node(".".join(parts[: depth + 1])))
        node.own.append(column)
    families = [[root]]
    while (opened := _opened(families, most)) is not None:
        families = opened
    blocks = [
        Block(node.name or "(model)", np.array(node.columns(), dtype=np.intp))
        for family in families
        for node in family
        if node.own or node.inside
    ]
    return tuple(sorted(blocks, key=lambda block: int(block.columns[0])))


def _opened(families: list[list[_Node]], most: int) -> list[list[_Node]] | None:
    """The families (nodes under one parent) with one more of them opened; ``None``: no room.

    The one with the most tensors a node goes first.
    """
    count = sum(map(len, families))
    order = sorted(
        range(len(families)),
        key=lambda place: (
            -sum(len(node.columns()) for node in families[place]) / len(families[place])
        ),
    )
    for place in order:
        family = families[place]
        children = [node.parts() if node.inside else [node] for node in family]
        if not any(node.inside for node in family):
            continue
        room = most - count + len(family)
        if sum(map(len, children)) <= room:
            return [*families[:place], *children, *families[place + 1 :]]
        if len(family) == 1 and room > 1:
            joined = _joined(children[0], room)
            return [*families[:place], joined, *families[place + 1 :]]
    return None


def _joined(nodes: list[_Node], most: int) -> list[_Node]:
    """Neighbours put together, so that there are at most ``most``; these are not opened again."""
    size = -(-len(nodes) // most)
    joined: list[_Node] = []
    for begin in range(0, len(nodes), size):
        part = nodes[begin : begin + size]
        last = part[-1].name.rpartition(".")[2]
        name = part[0].name if len(part) == 1 else f"{part[0].name} ... {last}"
        joined.append(_Node(name, sorted(c for node in part for c in node.columns())))
    return joined


class Blocks:
    """The numbers of tensors as the numbers of their blocks."""

    def __init__(self, tensors: Sequence[TensorEntry], most: int = 20) -> None:
        self.blocks = blocks_of([entry.name for entry in tensors], most)
        self.names = tuple(block.name for block in self.blocks)
        self._sizes = np.array([float(np.prod(entry.shape)) for entry in tensors])

    def of(self, values: Mapping[str, NDArray[np.float32]]) -> dict[str, Numbers]:
        """For each statistic one number a block, NaN where none of its tensors was read.

        ``gradient_zeros`` becomes ``gradient_zero_share``: a share of the block's entries.
        """
        full = {name: self._full(array) for name, array in values.items()}
        return {
            "gradient_zero_share" if name == "gradient_zeros" else name: np.array(
                [self._one(name, full, block.columns) for block in self.blocks]
            )
            for name in full
        }

    def counts(self, histogram: NDArray[np.uint32]) -> NDArray[np.uint64]:
        """The histograms of the blocks, (blocks, 64)."""
        there = [block.columns[block.columns < len(histogram)] for block in self.blocks]
        return np.array([histogram[columns].sum(axis=0, dtype=np.uint64) for columns in there])

    def _full(self, array: NDArray[np.float32]) -> Numbers:
        full = np.full(len(self._sizes), np.nan)
        full[: len(array)] = array[: len(full)]
        return full

    def _one(self, name: str, full: Mapping[str, Numbers], columns: Columns) -> float:
        columns = columns[~np.isnan(full[name][columns])]
        if not len(columns):
            return float("nan")
        numbers, sizes = full[name][columns], self._sizes[columns]
        entries = max(float(sizes.sum()), 1.0)
        if name == "gradient_l2":
            return float(np.sqrt(np.square(numbers).sum()))
        if name == "gradient_abs_max":
            return float(numbers.max())
        if name == "gradient_nonfinite":
            return float(numbers.sum())
        if name == "gradient_zeros":
            return float(numbers.sum()) / entries
        if name == "gradient_mean":
            return float((numbers * sizes).sum()) / entries
        weights = sizes
        if name == "update_to_weight" and "weight_rms" in full:
            # Change over weight, of all of the block's entries together.
            weights = sizes * np.square(np.nan_to_num(full["weight_rms"][columns]))
        total = float(weights.sum())
        return (
            float(np.sqrt((np.square(numbers) * weights).sum() / total)) if total else float("nan")
        )
