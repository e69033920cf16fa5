"""Healthy programs as people write them, each of which has once been called ill."""

import itertools
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from patients import Patient, Program, blobs
from torch import Tensor, nn

Made = Callable[[nn.Module], torch.optim.Optimizer]


def with_optimizer(program: Program, make: Made, steps: int = 0) -> Program:
    return {**program, "optimizer": make(program["model"]), "steps": steps}


def adam(rate: float, **more: float) -> Made:
    return lambda model: torch.optim.Adam(model.parameters(), rate, **more)  # type: ignore[arg-type]


def adamw(rate: float, decay: float = 0.01) -> Made:
    return lambda model: torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad], rate, weight_decay=decay
    )


def relu(*widths: int) -> nn.Sequential:
    """Linear layers of these widths with ReLU between them."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class LowRank(nn.Module):
    """A frozen layer with an adapter whose second factor starts at zero."""

    def __init__(self, layer: nn.Linear, rank: int = 4) -> None:
        super().__init__()
        self.layer = layer.requires_grad_(False)
        self.down = nn.Parameter(torch.randn(rank, layer.in_features) / 10)
        self.up = nn.Parameter(torch.zeros(layer.out_features, rank))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layer(inputs) + inputs @ self.down.T @ self.up.T


def lora(seed: int) -> Program:
    """Every A has no gradient yet and is decayed all the same: no sign of too much decay."""
    torch.manual_seed(seed)
    net = relu(32, 32, 32, 4)
    for place in (0, 2, 4):
        net[place] = LowRank(net[place])  # type: ignore[arg-type]
    return with_optimizer(
        {"model": net, "data": blobs(seed), "loss": F.cross_entropy}, adamw(5e-3), 5
    )


def zero_head(seed: int) -> Program:
    torch.manual_seed(seed)
    net = relu(32, 32, 32, 4)
    nn.init.zeros_(net[-1].weight)  # type: ignore[arg-type]
    return with_optimizer(
        {"model": net, "data": blobs(seed), "loss": F.cross_entropy}, adamw(1e-3, 0.1)
    )


def balanced(seed: int) -> Program:
    """Trained with decay until decay and gradient hold each other; a training step of its own."""
    torch.manual_seed(seed)
    net, batch = relu(32, 32, 4), blobs(seed)
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9, weight_decay=2e-3)
    for _ in range(300):
        optimizer.zero_grad()
        F.cross_entropy(net(batch[0]), batch[1]).backward()
        optimizer.step()

    def forward(model: nn.Module, own: tuple[Tensor, Tensor]) -> Tensor:
        return F.cross_entropy(model(own[0]), own[1])

    return {"model": net, "data": batch, "forward": forward, "optimizer": optimizer}


def one_sample_of_a_trained_net(seed: int) -> Program:
    """Nothing is left to learn from it, which is no fault of Adam's epsilon; most units are off."""
    torch.manual_seed(seed)
    net, batch = relu(32, 256, 256, 4), blobs(seed)
    optimizer = torch.optim.Adam(net.parameters(), 2e-3)
    for _ in range(200):
        optimizer.zero_grad()
        F.cross_entropy(net(batch[0]), batch[1]).backward()
        optimizer.step()
    one = (batch[0][seed : seed + 1], batch[1][seed : seed + 1])
    return {"model": net, "data": one, "loss": F.cross_entropy, "optimizer": optimizer}


def warmed_up(seed: int) -> Program:
    """A ten-thousandth of the rate at the first step of the schedule."""
    torch.manual_seed(seed)
    program: Program = {"model": relu(32, 32, 32, 4), "data": blobs(seed), "loss": F.cross_entropy}
    optimizer = torch.optim.SGD(program["model"].parameters(), 0.1, momentum=0.9)
    torch.optim.lr_scheduler.LinearLR(optimizer, 1e-4, 1.0, 100)
    return {**program, "optimizer": optimizer, "steps": 5}


def ages(seed: int) -> Program:
    """Targets of 40 with a spread of 10: Adam is there after some hundred steps."""
    torch.manual_seed(seed)
    inputs = torch.randn(128, 10)
    targets = 40 + 10 * torch.sin(inputs[:, :1]) + 3 * inputs[:, 1:2]
    program: Program = {"model": relu(10, 64, 64, 1), "data": (inputs, targets), "loss": F.l1_loss}
    return with_optimizer(program, adam(3e-3), 5)


class Squeezed(nn.Module):
    """A residual block whose gate looks through two ReLU units."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(width, width)
        self.gate = nn.Sequential(nn.Linear(width, 2), nn.ReLU(), nn.Linear(2, width), nn.Sigmoid())

    def forward(self, inputs: Tensor) -> Tensor:
        seen = F.relu(self.layer(inputs))
        return inputs + seen * self.gate(seen.mean(0, keepdim=True))


def squeezed(seed: int) -> Program:
    """Two units see all samples alike: by chance both are off in one block of four."""
    torch.manual_seed(seed)
    blocks = [Squeezed(32) for _ in range(6)]
    net = nn.Sequential(nn.Linear(32, 32), *blocks, nn.LayerNorm(32), nn.Linear(32, 4))
    return with_optimizer(
        {"model": net, "data": blobs(seed), "loss": F.cross_entropy}, adam(3e-3), 0
    )


class Angles(nn.Module):
    """Cosines between features and class weights, sharpened: only directions count."""

    def __init__(self) -> None:
        super().__init__()
        self.features = relu(32, 64, 16)
        self.classes = nn.Parameter(torch.randn(4, 16) / 10)

    def forward(self, inputs: Tensor) -> Tensor:
        return 16 * F.normalize(self.features(inputs)) @ F.normalize(self.classes).T


def angles(seed: int) -> Program:
    """The first steps turn the class weights by half of a right angle, and the loss jumps."""
    torch.manual_seed(seed)
    program: Program = {"model": Angles(), "data": blobs(seed), "loss": F.cross_entropy}
    sgd = torch.optim.SGD(program["model"].parameters(), 0.05, momentum=0.9)
    return {**program, "optimizer": sgd, "steps": 5}


def penalised_slope(seed: int) -> Program:
    """The loss differentiates the model itself, as in a physics-informed net."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))

    def forward(model: nn.Module, batch: tuple[Tensor]) -> Tensor:
        place = batch[0].clone().requires_grad_()
        (slope,) = torch.autograd.grad(model(place).sum(), place, create_graph=True)
        return F.mse_loss(slope, torch.cos(batch[0])) + model(torch.zeros(1, 1)).square().mean()

    data = (torch.linspace(0, math.pi, 64)[:, None],)
    return with_optimizer({"model": net, "data": data, "forward": forward}, adam(5e-3), 5)


HEALTHY_WELL: dict[str, Patient] = {
    "low-rank adapters under decay": lora,
    "zero head under decay": zero_head,
    "decay and gradient in balance": balanced,
    "one sample of a trained net": one_sample_of_a_trained_net,
    "first step of a warm-up": warmed_up,
    "targets of 40": ages,
    "two squeezed units": squeezed,
    "class weights on a sphere": angles,
    "a loss with derivatives in it": penalised_slope,
}
