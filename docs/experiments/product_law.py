"""Claims 2, 3 and 4: the product of slopes, the weights that the formula leaves out, slopes below one."""

import math

import torch
from nets import LOSS, Measured, decades, gradients_at, halves, plain
from torch import nn

import unvanish


def measure() -> Measured:
    """The ledger of thirty layers against slopes counted by hand; what the scale does to tanh."""
    seen, _ = halves()
    measured: Measured = {}
    for name, activation, gain in (
        ("30 sigmoids", nn.Sigmoid, 1.0),
        ("30 tanhs, gain 1", nn.Tanh, 1.0),
        ("30 tanhs, gain 1.5", nn.Tanh, 1.5),
        ("30 tanhs, weights 0.3 of that", nn.Tanh, 0.3),
    ):
        model = plain(activation, 30, gain=gain)
        layers = unvanish.observe(model, seen, LOSS).layers
        by_slope = math.fsum(layer.decades.get("activation", 0.0) for layer in layers)
        by_weight = math.fsum(layer.decades.get("weight", 0.0) for layer in layers)
        measured |= {
            f"{name}: decades by slopes": by_slope,
            f"{name}: decades by weights": by_weight,
            f"{name}: decades in all, by autograd": decades(gradients_at(model, seen)),
        }
    points = torch.linspace(-6, 6, 100001, dtype=torch.float64, requires_grad=True)
    for name, function in {"sigmoid": torch.sigmoid, "tanh": torch.tanh}.items():
        (slopes,) = torch.autograd.grad(function(points).sum(), points)
        measured[f"largest slope of {name}"] = slopes.max().item()
    return measured | _by_hand(seen)


def _by_hand(seen: tuple[torch.Tensor, torch.Tensor]) -> Measured:
    """log10 of the root mean square of f' over the units, summed over thirty sigmoid layers."""
    states, total = seen[0], 0.0
    with torch.no_grad():
        for module in plain(nn.Sigmoid, 30, gain=1.0):
            if isinstance(module, nn.Sigmoid):
                slopes = torch.sigmoid(states) * (1 - torch.sigmoid(states))
                total += math.log10(slopes.square().mean().sqrt().item())
            states = module(states)
    return {"30 sigmoids: decades by slopes, counted by hand": total}
