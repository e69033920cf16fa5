"""Claims 1 and 7: the update rule, and what stands still where no gradient arrives."""

import copy

import torch
from nets import LOSS, Measured, halves, plain, right, train
from torch import nn


def measure() -> Measured:
    """The rule against torch's own step; how far the layers of twenty sigmoids move; a frozen twin."""
    seen, unseen = halves()
    model = plain(nn.Sigmoid, 20, gain=1.0)
    before = copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    LOSS(model(seen[0]), seen[1]).backward()
    optimizer.step()
    pairs = list(zip(before.parameters(), model.parameters(), strict=True))
    rule = max((new - (old - 0.1 * new.grad)).abs().max().item() for old, new in pairs)
    moved = [
        ((new.weight - old.weight).norm() / old.weight.norm()).item()
        for old, new in zip(before, model, strict=True)
        if isinstance(old, nn.Linear)
    ]
    return {
        "largest difference from W - 0.1 dJ/dW": rule,
        "update / weight, last layer": moved[-1],
        "update / weight, first layer": moved[0],
        **_scale(seen),
        **_frozen(seen, unseen),
    }


def _scale(seen: tuple[torch.Tensor, torch.Tensor]) -> Measured:
    """One step of SGD and of Adam on a loss divided by a thousand, over the step on the loss."""
    shares: Measured = {}
    for name, make in {"SGD": torch.optim.SGD, "Adam": torch.optim.Adam}.items():
        steps = []
        for factor in (1.0, 1e-3):
            model = plain(nn.ReLU, 3, gain=2**0.5)
            start = model[0].weight.detach().clone()
            optimizer = make(model.parameters(), 1e-3)
            (factor * LOSS(model(seen[0]), seen[1])).backward()
            optimizer.step()
            steps.append((model[0].weight.detach() - start).norm().item())
        shares[f"{name}: step on a gradient / 1000, over the full one"] = steps[1] / steps[0]
    return shares


def _frozen(
    seen: tuple[torch.Tensor, torch.Tensor], unseen: tuple[torch.Tensor, torch.Tensor]
) -> Measured:
    """Six sigmoid layers by SGD: right answers with the first three trained, frozen; and ReLU."""
    answers: Measured = {}
    for name, activation, gain, frozen in (
        ("six sigmoids, all layers train", nn.Sigmoid, 1.0, 0),
        ("six sigmoids, first three frozen", nn.Sigmoid, 1.0, 6),
        ("six ReLUs, all layers train", nn.ReLU, 2**0.5, 0),
    ):
        model = plain(activation, 6, gain=gain)
        model[:frozen].requires_grad_(False)
        train(model, seen, torch.optim.SGD(model.parameters(), 0.1), 100)
        answers[f"{name}: right on unseen samples"] = right(model, unseen)
    return answers
