"""Claim 12: what comes by the skip, and what the sum itself does to the scale."""

import torch
from nets import LOSS, Measured, halves, right, train
from torch import Tensor, nn

import unvanish


class Block(nn.Module):
    """``x + gate * relu(linear(x))``; without a skip ``relu(linear(x))``."""

    def __init__(self, gate: float, skip: bool) -> None:
        super().__init__()
        self.linear, self.gate, self.skip = nn.Linear(64, 64), gate, skip
        nn.init.kaiming_normal_(self.linear.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """One block."""
        branch = self.gate * torch.relu(self.linear(x))
        return x + branch if self.skip else branch


def measure() -> Measured:
    """Fifty blocks: plain, summed as they are, summed with branches of 1 / root of their number."""
    seen, unseen = halves()
    measured: Measured = {}
    for name, gate, skip in (
        ("plain", 1.0, False),
        ("x + f(x)", 1.0, True),
        ("x + f(x) / root of 50", 50**-0.5, True),
    ):
        torch.manual_seed(0)
        model = nn.Sequential(*(Block(gate, skip) for _ in range(50)), nn.Linear(64, 10))
        trace = unvanish.observe(model, seen, LOSS)
        shares = [layer.skip_share for layer in trace.layers if layer.skip_share is not None]
        losses = train(model, seen, torch.optim.Adam(model.parameters(), 1e-3), 30)
        measured |= {
            f"{name}: loss at the start": losses[0],
            f"{name}: right on unseen samples": right(model, unseen),
        }
        if shares:
            measured[f"{name}: share that comes by the skip"] = sum(shares) / len(shares)
    return measured
