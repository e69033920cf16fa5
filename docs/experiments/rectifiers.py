"""Claims 8 and 9: what ReLU passes on, and which of its kin can die."""

import torch
from nets import Measured, decades, gradients_at, halves, plain, train
from torch import Tensor, nn

KIN = {"ReLU": nn.ReLU, "LeakyReLU": nn.LeakyReLU, "GELU": nn.GELU, "SiLU": nn.SiLU}


def measure() -> Measured:
    """Gain of a layer under torch's own initial values and He's; units lost to one step too large."""
    seen, _ = halves()
    measured: Measured = {}
    for name, gain in {"torch's default": None, "He": 2**0.5}.items():
        total = decades(gradients_at(plain(nn.ReLU, 30, gain=gain, width=256), _wide(seen)))
        measured[f"30 ReLUs, {name}: factor a layer"] = 10 ** (total / 31)
    model = plain(nn.ReLU, 1, gain=2**0.5)
    with torch.no_grad():
        measured["share of positive inputs of a ReLU"] = (
            (model[0](seen[0]) > 0).float().mean().item()
        )
    for name, activation in KIN.items():
        model = plain(activation, 3, gain=2**0.5)
        train(model, seen, torch.optim.SGD(model.parameters(), 3.0), 20)
        measured |= {
            f"{name}: units whose slope is 0 for all samples": _flat(model, seen[0], 0.0),
            f"{name}: units whose slope is below 1e-6": _flat(model, seen[0], 1e-6),
        }
    return measured


def _wide(data: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return data[0].repeat(1, 4), data[1]


def _flat(model: nn.Sequential, states: Tensor, limit: float) -> float:
    """The share of hidden units whose slope is at most ``limit`` on every sample."""
    flat: list[Tensor] = []
    for module in model:
        states = states.detach().requires_grad_(True)
        outputs = module(states)
        if not isinstance(module, nn.Linear):
            (slopes,) = torch.autograd.grad(outputs.sum(), states)
            flat.append(slopes.abs().amax(0) <= limit)
        states = outputs
    return torch.cat(flat).float().mean().item()
