"""Gradient over time steps at the input of recurrent modules: dL/dx_t.

A weight gradient is a sum over steps and stays normal while every early step has vanished from
it; the input of the sequence shows each step by itself, fused kernel or not.
"""

import contextlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from unvanish.probe.backward import Own
from unvanish.probe.inputs import Leaves
from unvanish.signals import norms_along


@dataclass(slots=True)
class SequenceReading:
    """dL/dx_t of one call of one recurrent module."""

    module: str
    norms: tuple[float, ...] | None = None
    bidirectional: bool = False


class SequenceReader:
    """Sets a tensor hook on the input of every recurrent module call; owns and removes them."""

    def __init__(self, leaves: Leaves, own: Own = contextlib.nullcontext) -> None:
        self.readings: list[SequenceReading] = []
        self._own = own
        self._leaves = leaves
        self._handles: list[Any] = []

    def enter(
        self, module: nn.Module, arguments: tuple[Any, ...], path: str
    ) -> tuple[Any, ...] | None:
        """Called as a module starts; hooks (or replaces, if it needs no grad) its input."""
        if not isinstance(module, nn.RNNBase) or not arguments:
            return None
        source: Any = arguments[0]
        data: Any = source.data if isinstance(source, PackedSequence) else source
        if not isinstance(data, Tensor) or not torch.is_grad_enabled():
            return None
        replaced = None
        if not data.requires_grad:
            data = data.detach().requires_grad_()
            self._leaves.add_input(data)
            fresh: Any = source._replace(data=data) if isinstance(source, PackedSequence) else data
            replaced = (fresh, *arguments[1:])
        reading = SequenceReading(path, bidirectional=bool(module.bidirectional))
        self.readings.append(reading)
        sizes = source.batch_sizes.tolist() if isinstance(source, PackedSequence) else None
        time = 1 if module.batch_first and data.dim() == 3 else 0
        self._handles.append(data.register_hook(_StepHook(reading, sizes, time, self._own)))
        return replaced

    def close(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()


class _StepHook:
    def __init__(
        self, reading: SequenceReading, sizes: list[int] | None, time: int, own: Own
    ) -> None:
        self.reading, self.sizes, self.time, self.own = reading, sizes, time, own

    def __call__(self, gradient: Tensor) -> None:
        with self.own():
            self._read(gradient)

    def _read(self, gradient: Tensor) -> None:
        if self.sizes is None:
            self.reading.norms = norms_along(gradient, self.time)
        else:  # packed: rows of all samples of step 0, then of step 1, ...
            wide = gradient.detach().to(torch.float64)
            self.reading.norms = tuple(float(part.norm()) for part in wide.split(self.sizes))
