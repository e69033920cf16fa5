"""Initial values by the names that Keras gives to them."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn


def initialise(part: nn.Module, method: str) -> None:
    """Weights by the name of a Keras initialiser, or a multiple of what torch gives; zero biases."""
    weight = part.weight
    assert isinstance(weight, Tensor)
    initialise_weight(weight, method)
    if method != "torch" and not method.startswith("times") and part.bias is not None:
        assert isinstance(part.bias, Tensor)
        nn.init.zeros_(part.bias)


@torch.no_grad()
def initialise_weight(weight: Tensor, method: str) -> None:
    fan = weight[0].numel()
    uniform, normal = nn.init.uniform_, nn.init.normal_
    known: dict[str, Callable[[], object]] = {
        "torch": lambda: None,
        "zeros": lambda: nn.init.zeros_(weight),
        "ones": lambda: nn.init.ones_(weight),
        "constant": lambda: nn.init.constant_(weight, 0.05),
        "normal": lambda: normal(weight, 0, 0.05),
        "unit normal": lambda: normal(weight, 0, 1),
        "uniform": lambda: uniform(weight, -0.05, 0.05),
        "unit uniform": lambda: uniform(weight, -1, 1),
        "positive": lambda: uniform(weight, 0, 1),
        "truncated": lambda: nn.init.trunc_normal_(weight, 0, 0.05, -0.1, 0.1),
        "lecun uniform": lambda: uniform(weight, -math.sqrt(3 / fan), math.sqrt(3 / fan)),
        "glorot": lambda: nn.init.xavier_uniform_(weight),
        "he uniform": lambda: nn.init.kaiming_uniform_(weight, nonlinearity="relu"),
        "he normal": lambda: nn.init.kaiming_normal_(weight, nonlinearity="relu"),
        "orthogonal": lambda: nn.init.orthogonal_(weight),
        "times 0.1": lambda: weight.mul_(0.1),
        "times 10": lambda: weight.mul_(10),
    }
    known[method]()
