"""Claim 6: activation, depth and initial scale, each turned by itself."""

from nets import Measured, decades, gradients_at, halves, plain
from torch import nn


def measure() -> Measured:
    """Decades between loss and input while one thing changes and the others stand still."""
    seen, _ = halves()
    measured: Measured = {}
    for depth in (5, 10, 20, 40):
        net = plain(nn.Sigmoid, depth, gain=1.0)
        measured[f"depth {depth}, sigmoid"] = decades(gradients_at(net, seen))
    for gain in (0.5, 1.0, 2.0, 4.0):
        net = plain(nn.Tanh, 20, gain=gain)
        measured[f"gain {gain:g}, 20 tanhs"] = decades(gradients_at(net, seen))
    for activation in (nn.Sigmoid, nn.Tanh, nn.ReLU, nn.SiLU, nn.GELU):
        net = plain(activation, 20, gain=1.0)
        measured[f"{activation.__name__}, 20 layers, gain 1"] = decades(gradients_at(net, seen))
    return measured
