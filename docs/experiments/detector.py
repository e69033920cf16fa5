"""Claim 17: a real detector, Ultralytics' smallest, and the same one with sigmoids for its SiLUs."""

import torch
from nets import Measured
from torch import nn


def measure() -> Measured:
    """Gradient at the first convolution over that at the last one of the backbone and neck."""
    from ultralytics.nn.tasks import DetectionModel

    measured: Measured = {}
    for name in ("SiLU", "Sigmoid"):
        torch.manual_seed(0)
        model = DetectionModel("yolo11n.yaml", verbose=False).train()
        if name == "Sigmoid":
            _exchange(model)
        outputs: list[torch.Tensor] = []
        images = torch.rand(4, 3, 128, 128)
        states, kept = images, list[torch.Tensor]()
        for layer in model.model[:10]:  # the backbone is a plain row up to its pooling part
            states = layer(states)
            kept.append(states)
            outputs.append(states)
        weighing = torch.randn_like(states)
        norms = torch.autograd.grad((states * weighing).sum(), outputs)
        first, last = norms[0].norm(), norms[-1].norm()
        measured[f"YOLO11n, {name}: gradient, first over last of 10 parts"] = (first / last).item()
    return measured


def _exchange(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.SiLU):
            setattr(module, name, nn.Sigmoid())
        else:
            _exchange(child)
