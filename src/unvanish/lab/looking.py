"""The net that the sliders describe, with its optimizer and one batch, and one observation of it."""

import time
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unvanish.lab.data import BATCH, loss_of, samples
from unvanish.lab.nets import at_hand, build
from unvanish.lab.settings import Settings
from unvanish.probe.collector import collector_paused
from unvanish.probe.observe import observe
from unvanish.surgery import Edit, apply
from unvanish.surgery.optimizers import carried
from unvanish.trace import Trace

Optimizer = torch.optim.Optimizer
Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A net that was observed: what its picture is drawn from and its verdict is based on.

    It holds for every choice of the training alone (optimizer, rate, clipping). ``drawn`` is the
    net before the edits of a cure.
    """

    net: nn.Module
    drawn: nn.Module
    edits: tuple[Edit, ...]
    batch: Batch
    trace: Trace
    milliseconds: float

    def optimizer(self, settings: Settings) -> Optimizer:
        """The one that is chosen, over the net."""
        return _over(self.net, self.drawn, self.edits, settings)


def look(settings: Settings, edits: Iterable[Edit] = ()) -> Look:
    """Build the net and observe it; it is not changed, as others may be looking at it too."""
    started = time.perf_counter()
    edits = tuple(edits)
    with collector_paused():
        net, drawn, batch = _patient(settings, edits, at_hand(settings))
        trace = observe(net, batch, loss_of(settings), seed=settings.seed)
    taken = 1000 * (time.perf_counter() - started)
    return Look(net=net, drawn=drawn, edits=edits, batch=batch, trace=trace, milliseconds=taken)


def patient(settings: Settings, edits: Iterable[Edit] = ()) -> tuple[nn.Module, Optimizer, Batch]:
    """A net of one's own, its optimizer and one batch, after the edits of a cure."""
    edits = tuple(edits)
    net, drawn, batch = _patient(settings, edits, build(settings))
    return net, _over(net, drawn, edits, settings), batch


def optimizer_of(settings: Settings, net: nn.Module) -> Optimizer:
    """The optimizer that is chosen, over the net."""
    if settings.optimizer == "adam":
        return torch.optim.Adam(net.parameters(), lr=settings.rate)
    momentum = 0.9 if settings.optimizer == "momentum" else 0.0
    return torch.optim.SGD(net.parameters(), lr=settings.rate, momentum=momentum)


def hidden_weights(net: nn.Module) -> dict[str, Tensor]:
    """The matrices of the hidden layers, the first one first; of a cell, all of its matrices."""
    named = {name: p for name, p in net.named_parameters() if p.dim() == 2}
    return {name: p for name, p in named.items() if not name.startswith("head")}


def _patient(
    settings: Settings, edits: tuple[Edit, ...], drawn: nn.Module
) -> tuple[nn.Module, nn.Module, Batch]:
    """The net after the edits, as it was drawn, and one batch."""
    inputs, targets = samples(settings)
    batch = inputs[:BATCH], targets[:BATCH]
    if not edits:
        return drawn, drawn, batch
    treated = apply(drawn, edits, batch=batch, loss=loss_of(settings), seed=settings.seed)
    return treated, drawn, batch


def _over(
    net: nn.Module, drawn: nn.Module, edits: tuple[Edit, ...], settings: Settings
) -> Optimizer:
    chosen = optimizer_of(settings, drawn)
    return carried(chosen, drawn, net, edits) if edits else chosen
