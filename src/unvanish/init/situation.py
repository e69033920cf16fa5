"""What the methods of one call know together: the model, its graph, who may change, what to aim at."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import nn

from unvanish.init.graph import DROPOUTS, VIEWS, Bend, Graph
from unvanish.init.layout import SPATIAL
from unvanish.init.parts import Part, Permission
from unvanish.init.report import Change
from unvanish.init.residual import Branch, longest
from unvanish.probe.flow import NORMALIZING, WEIGHTED
from unvanish.trace import Trace


@dataclass(slots=True)
class Situation:
    """One call. Methods read it, write values into the model and leave notes here.

    ``gains`` multiplies the weight of a part on a residual branch, ``sizes`` is what its output
    comes to by then; norms and attention have theirs by module name. ``aims`` is the scale that
    calibration brings a part's output to, around which shift. ``closed_head`` says that a head
    of zero is left alone.
    """

    model: nn.Module
    trace: Trace
    graph: Graph
    parts: Mapping[int, Part]
    permitted: Permission
    branches: tuple[Branch, ...]
    generator: torch.Generator
    steps: int | None
    inputs: torch.Tensor | None
    gains: dict[int, float] = field(default_factory=dict[int, float])
    sizes: dict[int, float] = field(default_factory=dict[int, float])
    norm_gains: dict[str, float] = field(default_factory=dict[str, float])
    attention_gains: dict[str, tuple[float, float]] = field(
        default_factory=dict[str, tuple[float, float]]
    )
    aims: dict[int, tuple[float, float]] = field(default_factory=dict[int, tuple[float, float]])
    notes: dict[str, str] = field(default_factory=dict[str, str])
    closed_head: bool = False
    changes: list[Change] = field(default_factory=list[Change])
    _calls: dict[int, frozenset[int]] = field(default_factory=dict[int, frozenset[int]])
    _longest: dict[frozenset[int], int] = field(default_factory=dict[frozenset[int], int])
    _before_flat: set[int] | None = None

    def calls_of(self, part: Part) -> frozenset[int]:
        """Every operation that applies this part's weight, where none feeds another; else none.

        Two pictures through one net, a reading at each time step: the values that are right for
        one call are right for all. A weight that its own output comes back to is another matter.
        """
        key = id(part.weight)
        if key not in self._calls:
            calls = frozenset(i for i, other in self.parts.items() if other.weight is part.weight)
            known = len(calls) == part.calls and self.graph.side_by_side(calls)
            self._calls[key] = calls if known else frozenset()
        return self._calls[key]

    def may_change(self, part: Part) -> bool:
        """Whether weight and bias of this part may get new values."""
        return self.permitted.reason(part.names) is None

    @property
    def input_rms(self) -> float | None:
        """Root mean square of the inputs, where they are one float tensor."""
        return None if self.inputs is None else rms(self.inputs)

    def samples_of(self, part: Part) -> torch.Tensor | None:
        """What a linear layer that reads the batch itself is given: (samples, inputs)."""
        reads_batch = part.kind == "linear" and self.graph.source(part.operation) == ("batch", None)
        if self.inputs is None or not reads_batch or self.inputs.dim() < 2:
            return None
        for rows in (self.inputs.flatten(1), self.inputs.flatten(0, -2)):
            if rows.shape[1] == part.inputs:
                return rows
        return None

    def bends_behind(self, index: int) -> list[Bend]:
        """The activations that the output of an operation reaches past nothing weighted."""
        found: list[Bend] = []
        pending, seen = list(self.graph.readers.get(index, ())), set[int]()
        passing = VIEWS | DROPOUTS | NORMALIZING | SPATIAL
        while pending:
            current = pending.pop()
            if current in seen:
                continue
            seen.add(current)
            if current in self.graph.bends:
                found.append(self.graph.bends[current])
            elif self.graph[current].function in passing:
                pending += self.graph.readers.get(current, ())
        return found

    def in_short_branch(self, index: int) -> bool:
        """Whether the operation lies on a residual branch too short to decay along."""
        return any(
            index in branch.operations and self._bends_on(branch) <= LONG_BRANCH
            for branch in self.branches
        )

    def _bends_on(self, branch: Branch) -> int:
        return len(branch.operations & self.graph.bends.keys())

    def bends_in_a_row(self, index: int) -> tuple[int, int]:
        """Activations that bend one after another what this operation puts out, and the branches.

        Along a plain stretch all of them, and no branch; on a residual branch its own, and how many
        branches there are in a row.
        """
        around = [self._bends_on(b) for b in self.branches if index in b.operations]
        if not around:
            return self.depth(), 0
        return max(1, min(around)), self._in_a_row(frozenset(b.sum for b in self.branches))

    def is_head(self, index: int) -> bool:
        """Whether nothing weighted comes behind: the size of the outputs is for the loss to say."""
        ahead, seen = [index], set[int]()
        while ahead:
            for reader in self.graph.readers.get(ahead.pop(), ()):
                if reader in self.parts or self.graph[reader].function in WEIGHTED:
                    return False
                if reader not in seen:
                    seen.add(reader)
                    ahead.append(reader)
        return True

    def padded_before(self, index: int) -> bool:
        """Whether what an operation reads was padded by one of its own."""
        signals = self.graph.signals(index)
        return bool(signals) and self.graph[signals[0]].function in PADS

    def is_read_as_a_whole(self, index: int) -> bool:
        """Whether a linear layer behind reads flat what is a map here: rows of numbers, no places."""
        if self._before_flat is None:
            linear = (i for i, part in self.parts.items() if part.kind == "linear")
            flat = [i for i in linear if len(self.graph[i].output_shape) == 2]
            self._before_flat = self.graph.ancestors(flat)
        return index in self._before_flat

    def depth(self) -> int:
        """Activations in a row, on the longest way from the batch to the loss."""
        return max(1, self._in_a_row(frozenset(self.graph.bends)))

    def _in_a_row(self, counted: frozenset[int]) -> int:
        if counted not in self._longest:
            self._longest[counted] = longest(self.graph, counted)
        return self._longest[counted]


PADS = frozenset(("pad", "constant_pad_nd"))
LONG_BRANCH = 4
"""Activations on a residual branch up to which its inner layers need no isometry."""


def rms(values: torch.Tensor) -> float:
    """Root mean square in float64."""
    return math.sqrt(float(values.detach().double().square().mean())) if values.numel() else 0.0
