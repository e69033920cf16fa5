"""Claim 15: attention against sequence, and what depth does to either kind of norm."""

import torch
from nets import Measured
from torch import Tensor, nn


def measure() -> Measured:
    """How evenly positions are reached; the gradient between the first and the last of 24 blocks."""
    measured: Measured = {}
    for name, skip, first in (
        ("pre-norm", True, True),
        ("post-norm", True, False),
        ("no skip, no norm", False, False),
    ):
        torch.manual_seed(0)
        blocks = [_Block(skip, first) for _ in range(24)]
        inputs = torch.randn(8, 50, 32, requires_grad=True)
        outputs = [inputs]
        for block in blocks:
            outputs.append(block(outputs[-1]))
        loss = outputs[-1][:, -1].square().mean()
        norms = torch.autograd.grad(loss, outputs[:-1])
        positions = norms[0].double().norm(dim=(0, 2))
        measured[f"{name}, 24 blocks: gradient, first over last block"] = (
            norms[0].double().norm() / norms[-1].double().norm()
        ).item()
        if skip and first:
            measured["pre-norm: first over middle position of 50"] = (
                positions[0] / positions[25]
            ).item()
    return measured


class _Block(nn.Module):
    def __init__(self, skip: bool, first: bool) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(32, 4, batch_first=True)
        self.feed = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 32))
        self.norms = nn.ModuleList(nn.LayerNorm(32) if skip else nn.Identity() for _ in range(2))
        self.skip, self.first = skip, first

    def forward(self, x: Tensor) -> Tensor:
        """Attention, then a feed-forward part, each with its skip and norm."""
        for norm, part in zip(self.norms, (self._attend, self.feed), strict=True):
            if not self.skip:
                x = part(x)
            elif self.first:
                x = x + part(norm(x))
            else:
                x = norm(x + part(x))
        return x

    def _attend(self, x: Tensor) -> Tensor:
        return self.attention(x, x, x, need_weights=False)[0]
