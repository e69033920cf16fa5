"""Global changes to a whole model, as AUTOTRAINER and the zero-skill judges make them.

Always all hidden layers at once. Each edits a freshly built program in place; the optimizer is made
anew over the same parameters and the new ones, as whoever writes the change into a script would.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from repair.nets import ACTIVATIONS, WEIGHTED, Exponential
from repair.programs import OPTIMIZERS, Built
from repair.starts import initialise

Remedy = Callable[[Built], Built]
BENDS = (
    *(nn.ReLU, nn.Tanh, nn.GELU, nn.SiLU, nn.ELU, nn.SELU, nn.LeakyReLU, nn.Softplus),
    *(nn.Softsign, nn.Sigmoid, nn.Hardsigmoid, Exponential),
)


class FeatureNorm(nn.BatchNorm1d):
    """Batch norm over the last axis, whatever stands before it."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(0, -2)).view_as(x)


class Noise(nn.Module):
    """Gaussian noise on the inputs in training."""

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.1 * torch.randn_like(x) if self.training else x


def weighted(model: nn.Module) -> list[tuple[nn.Module, str, nn.Module]]:
    """Linear and convolutional layers with parent and name, in order; not those inside attention."""
    return [
        (parent, name, part)
        for parent in model.modules()
        if not isinstance(parent, nn.MultiheadAttention)
        for name, part in parent.named_children()
        if type(part) in WEIGHTED
    ]


def renewed(built: Built, kind: str | None = None, factor: float = 1.0) -> Built:
    """The optimizer over the parameters it had and those that are new; its kind, its rate."""
    old = built.optimizer
    had = {id(p) for group in old.param_groups for p in group["params"]}
    # What the program withheld from its optimizer stays withheld: only new tensors join.
    kept = [p for p in built.model.parameters() if id(p) in had or id(p) not in built.known]
    if kind is not None:
        built.optimizer = OPTIMIZERS[kind](kept, lr=factor)
        return built
    options = {k: v for k, v in old.param_groups[0].items() if k in old.defaults}
    built.optimizer = type(old)(kept, **{**options, "lr": factor * options["lr"]})
    return built


def activate(name: str, init: str | None = None) -> Remedy:
    """Every hidden activation becomes this one; weights anew if ``init`` is given."""

    def remedy(built: Built) -> Built:
        last = list(built.model.children())[-1]
        for parent in list(built.model.modules()):
            for child, part in list(parent.named_children()):
                softmax = isinstance(part, nn.Softmax) and part is not last
                if isinstance(part, BENDS) or softmax:
                    parent.register_module(child, ACTIVATIONS[name]())
            if isinstance(parent, nn.RNN) and name in ("relu", "tanh"):
                parent.nonlinearity = name
                parent.mode = f"RNN_{name.upper()}"
        return start(init)(built) if init else renewed(built)

    return remedy


def start(method: str) -> Remedy:
    """New initial values for all layers; ``"random"``: another initialiser by lot."""

    def remedy(built: Built) -> Built:
        chosen = method
        if method == "random":
            known = ("glorot", "he uniform", "he normal", "lecun uniform", "normal", "truncated")
            chosen = known[int(torch.randint(len(known), ()))]
        for _, _, part in weighted(built.model):
            initialise(part, chosen)
        for memory in (m for m in built.model.modules() if isinstance(m, nn.RNNBase)):
            for weight in memory.parameters():
                if weight.dim() == 2:
                    bound = math.sqrt(3 / weight.shape[1])
                    nn.init.uniform_(weight, -bound, bound)
        return renewed(built)

    return remedy


def batch_norm(built: Built) -> Built:
    """Batch norm behind every hidden layer; behind a memory, as far as its module lets one in."""
    parts = weighted(built.model)
    for parent, name, part in parts[:-1]:
        weight = part.weight
        assert isinstance(weight, Tensor)
        kind = nn.BatchNorm2d if isinstance(part, nn.Conv2d) else FeatureNorm
        parent.register_module(name, nn.Sequential(part, kind(len(weight))))
    if any(isinstance(m, nn.RNNBase) for m in built.model.modules()):
        parent, name, head = parts[-1]
        assert isinstance(head, nn.Linear)
        parent.register_module(name, nn.Sequential(FeatureNorm(head.in_features), head))
    return renewed(built)


def rate(factor: float) -> Remedy:
    return lambda built: renewed(built, factor=factor)


def optimizer(kind: str, learning_rate: float) -> Remedy:
    return lambda built: renewed(built, kind, learning_rate)


def clip(value: float) -> Remedy:
    """Every entry of the gradient within this value."""

    def remedy(built: Built) -> Built:
        built.clip = value
        return built

    return remedy


def plateau(built: Built) -> Built:
    built.plateau = True
    return built


def noise(built: Built) -> Built:
    built.model = nn.Sequential(Noise(), built.model)
    return renewed(built)


def batch_size(size: int) -> Remedy:
    """Minibatches of another size."""

    def remedy(built: Built) -> Built:
        inputs, targets = (torch.cat(parts) for parts in zip(*built.data, strict=True))
        pairs = zip(inputs.split(size), targets.split(size), strict=True)
        built.data = [(x, y) for x, y in pairs if len(y) == size or len(targets) < size]
        return built

    return remedy


def unchanged(built: Built) -> Built:
    return built


REMEDIES: dict[str, Remedy] = {
    "SELU": activate("selu", "lecun uniform"),
    "ReLU + He": activate("relu", "he uniform"),
    "tanh": activate("tanh", "glorot"),
    "leaky ReLU": activate("leaky", "he uniform"),
    "batch norm": batch_norm,
    "new values": start("random"),
    "he": start("he uniform"),
    "clip": clip(9.0),
    "Adam": optimizer("adam", 1e-3),
    "momentum SGD": optimizer("sgd", 1e-2),
    "rate / 10": rate(0.1),
    "rate / 100": rate(0.01),
    "rate x 10": rate(10.0),
    "rate x 100": rate(100.0),
    "plateau": plateau,
    "batch 64": batch_size(64),
    "noise": noise,
}
ARCHITECTURE = frozenset(("SELU", "ReLU + He", "tanh", "leaky ReLU", "batch norm", "noise"))
"""Which of them change the functions that the model computes with."""
