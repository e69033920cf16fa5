"""What stands in front of the activations, and the curve on which it stands."""

import math
from collections.abc import Mapping
from typing import Any, Final, cast

import numpy as np
import torch
from torch import Tensor, nn

from unvanish.lab.expectation import curve_of
from unvanish.lab.nets import Reader, Recurrent, before_activation
from unvanish.lab.settings import Settings
from unvanish.probe.in_passing import in_passing
from unvanish.theory import nonlinearity

REACH: Final = 8.0
"""The curve is drawn from minus to plus this; what lies beyond counts at its ends."""
BINS: Final = 64
POINTS: Final = 161


def histograms(net: nn.Module, settings: Settings, inputs: Tensor) -> list[dict[str, Any]]:
    """For each layer (or time step): shares of its pre-activations in equal bins over the curve.

    Of an LSTM they are those of its forget gates, of a GRU those of its update gates.
    """
    found = _in_time(net, settings, inputs) if settings.recurrent else _in_depth(net, inputs)
    return _counted(found)


def curve(settings: Settings) -> dict[str, Any]:
    """The function the units stand on and its slope, at equal places."""
    gated = settings.cell in ("lstm", "gru")
    bend = nonlinearity("sigmoid") if gated else curve_of(settings)
    places = np.linspace(-REACH, REACH, POINTS)
    return {
        "of": settings.cell if gated else settings.activation,
        "x": places.round(3).tolist(),
        "value": bend.value(places).round(5).tolist(),
        "slope": bend.slope(places).round(5).tolist(),
        "most": float(np.abs(bend.slope(places)).max()),
    }


def _counted(found: Mapping[str, Tensor]) -> list[dict[str, Any]]:
    """All layers at once, as there may be two hundred; shorter ones are filled up with NaN."""
    if not found:
        return []
    flat = [tensor.detach().flatten() for tensor in found.values()]
    values = nn.utils.rnn.pad_sequence(flat, True, math.nan).double().numpy()
    finite = np.isfinite(values)
    known = np.where(finite, values, 0.0)
    places = ((np.clip(known, -REACH, REACH) + REACH) * (BINS / (2 * REACH))).astype(np.intp)
    rows = np.arange(len(values))[:, None] * BINS
    among = (np.minimum(places, BINS - 1) + rows)[finite]
    counts = np.bincount(among, minlength=len(values) * BINS).reshape(len(values), BINS)
    whole = counts.sum(1)
    some = np.maximum(whole, 1)
    shares = (counts / some[:, None]).round(4).tolist()
    means = (known.sum(1) / some).tolist()
    rms = np.sqrt((known**2).sum(1) / some).tolist()
    return [
        {
            "name": name,
            "shares": shares[at],
            "mean": means[at] if whole[at] else None,
            "rms": rms[at] if whole[at] else None,
        }
        for at, name in enumerate(found)
    ]


def _in_depth(net: nn.Module, inputs: Tensor) -> dict[str, Tensor]:
    seen: dict[str, Tensor] = {}
    spots = before_activation(net)

    def keep(name: str) -> Any:
        def kept(output: Tensor) -> Tensor:
            seen[name] = output
            return output

        return kept

    buffers = [(buffer, buffer.clone()) for buffer in net.buffers()]
    with torch.no_grad(), in_passing({part: keep(name) for name, part in spots.items()}):
        net(inputs)
    for buffer, value in buffers:  # running means of batch norms move with every pass
        buffer.copy_(value)
    return {name.partition(".")[0]: seen[name] for name in spots if name in seen}


@torch.no_grad()
def _in_time(net: nn.Module, settings: Settings, inputs: Tensor) -> dict[str, Tensor]:
    if not isinstance(net, Reader):
        return {}
    cell = net.cell
    states = cell(inputs)[0]
    before = torch.cat([torch.zeros_like(states[:, :1]), states[:, :-1]], 1)
    if isinstance(cell, Recurrent):
        values = cell.read(inputs) + cell.carry(before)
    else:
        named = dict(cell.named_parameters())
        values = nn.functional.linear(inputs, named["weight_ih_l0"], named["bias_ih_l0"])
        values = values + nn.functional.linear(before, named["weight_hh_l0"], named["bias_hh_l0"])
    if settings.cell in ("lstm", "gru"):
        values = values[..., settings.width : 2 * settings.width]
    return {str(step): cast(Tensor, values[:, step]) for step in range(values.shape[1])}
