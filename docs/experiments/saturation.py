"""Claim 5: outside of a range a sigmoid hardly reacts to its input."""

import torch
from nets import LOSS, Measured, halves, plain
from torch import nn

import unvanish


def measure() -> Measured:
    """Saturated units and the gradient of the first layer, as the inputs are taken times a factor."""
    seen, _ = halves()
    measured: Measured = {}
    for factor in (1, 10, 100):
        trace = unvanish.observe(plain(nn.Tanh, 2), (factor * seen[0], seen[1]), LOSS)
        shares = [a.saturated_share for a in trace.activations if a.saturated_share is not None]
        measured[f"inputs times {factor}: saturated units of the first layer"] = shares[0]
    for x in (0.0, 5.0, 10.0):
        point = torch.tensor(x, dtype=torch.float64, requires_grad=True)
        torch.sigmoid(point).backward()
        measured[f"slope of the sigmoid at {x:g}"] = point.grad.item()
    return measured
