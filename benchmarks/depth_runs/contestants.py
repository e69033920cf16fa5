"""Who takes part: torch's default, the textbook, the published method, and ours."""

import math
from collections.abc import Callable

import torch
from torch import nn

import unvanish
from depth_runs.tasks import Task

Prepare = Callable[[nn.Module, Task], nn.Module]


def batch_of(task: Task) -> tuple[torch.Tensor, torch.Tensor]:
    """What an initialisation may look at: 128 training samples."""
    return task.train[0][:128], task.train[1][:128]


def default(model: nn.Module, task: Task) -> nn.Module:
    """As torch made it."""
    return model


def he(model: nn.Module, task: Task) -> nn.Module:
    """He et al. 2015, biases zero."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return model


def lsuv(model: nn.Module, task: Task) -> nn.Module:
    """Mishkin and Matas 2016."""
    unvanish.init.lsuv_(
        model, batch_of(task), nn.functional.cross_entropy, seed=torch.initial_seed()
    )
    return model


@torch.no_grad()
def set_middle(weight: torch.Tensor, middle: torch.Tensor) -> None:
    """A matrix, or a kernel that is one at its middle and zero elsewhere."""
    weight.zero_()
    weight[(..., *(size // 2 for size in weight.shape[2:]))] = middle


def tailored(model: nn.Module, task: Task) -> nn.Module:
    """Zhang, Botev and Martens 2022 (TAT): ReLU becomes a tailored leaky ReLU, weights orthogonal.

    Kernels are zero but for their middles. Changes the activations, which initialisation alone does
    not.
    """
    assert isinstance(model, nn.Sequential)
    depth = sum(isinstance(part, nn.ReLU) for part in model)
    for index, part in enumerate(model):
        if isinstance(part, nn.ReLU):
            model[index] = unvanish.nn.TailoredLeakyReLU(depth)
        if isinstance(part, nn.Linear | nn.Conv2d):
            middle = torch.empty(part.weight.shape[:2])
            nn.init.orthogonal_(middle, max(1.0, math.sqrt(middle.shape[0] / middle.shape[1])))
            set_middle(part.weight, middle)
            nn.init.zeros_(part.bias)
    return model


def critical(model: nn.Module, task: Task) -> nn.Module:
    """Ours: initial values alone, drawn anew for each seed of a run."""
    unvanish.init.critical_(
        model, batch_of(task), nn.functional.cross_entropy, seed=torch.initial_seed()
    )
    return model


CONTESTANTS: dict[str, Prepare] = {
    "torch's default": default,
    "He": he,
    "LSUV": lsuv,
    "TAT (other activation)": tailored,
    "unvanish.init.critical_": critical,
}
OURS = "unvanish.init.critical_"
