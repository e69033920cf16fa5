"""Parameters without gradient whose values reach the loss: by mistake, and on purpose.

The same shape as in ``patients``: SICK_CUTS maps a patient to the finding that must come first and a
place it must name, HEALTHY_CUTS holds what looks like it.
"""

import copy
from typing import Any

import torch
import torch.nn.functional as F
from patients import Patient, Program, classify
from patients import blobs as drawn
from patients_structure import regression, seeded
from torch import Tensor, nn


def blobs(seed: int) -> tuple[Tensor, Tensor]:
    return drawn(seed, features=8)


def perceptron(inside: int, outside: int, width: int = 24) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inside, width), nn.ReLU(), nn.Linear(width, outside))


def adam(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, 1e-3)


# --- by mistake ------------------------------------------------------------------------------


class TwoHeads(nn.Module):
    """A trunk, a head for the classes and one for a number; ``logged`` keeps the second as a number."""

    def __init__(self, logged: bool) -> None:
        super().__init__()
        self.trunk, self.classes, self.number = (
            perceptron(8, 16),
            nn.Linear(16, 4),
            nn.Linear(16, 1),
        )
        self.logged = logged
        self.log: dict[str, float] = {}

    def forward(self, x: Tensor) -> Any:
        features = F.relu(self.trunk(x))
        number = self.number(features).squeeze(-1)
        if not self.logged:
            return self.classes(features), number
        self.log["number"] = number.mean().item()
        return self.classes(features) * torch.tensor([1.0, 1.0, 2.0, 1.0])


@seeded
def task_as_a_number(seed: int) -> Program:
    def loss(outputs: tuple[Tensor, Tensor], labels: Tensor) -> Tensor:
        second = 0.5 * F.mse_loss(outputs[1], labels.float()).item()
        return F.cross_entropy(outputs[0], labels) + second

    return {"model": TwoHeads(logged=False), "data": blobs(seed), "loss": loss}


class Rewrapped(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.body, self.head, self.how = perceptron(8, 16), perceptron(16, 4), how

    def forward(self, x: Tensor) -> Tensor:
        features = self.body(x)
        if self.how == "floats":
            features = torch.tensor([[float(value) for value in row] for row in features])
        elif self.how == "leaf of numbers":
            features = torch.tensor(features.tolist(), requires_grad=True)
        else:
            features = torch.tensor(features, requires_grad=True)
        return self.head(features)


def rewrapped(how: str) -> Patient:
    return seeded(lambda seed: classify(Rewrapped(how), blobs(seed)))


def loss_made_anew(how: str) -> Patient:
    def loss(outputs: Tensor, labels: Tensor) -> Tensor:
        value = F.cross_entropy(outputs, labels)
        if how == "number":
            return torch.tensor(value.item(), requires_grad=True)
        if how == "variable":
            return torch.autograd.Variable(value.data, requires_grad=True)  # type: ignore[no-any-return]
        return torch.tensor(value, requires_grad=True)

    def patient(seed: int) -> Program:
        return {"model": perceptron(8, 4), "data": blobs(seed), "loss": loss, "optimizer": adam}

    return seeded(patient)


@seeded
def norm_of_one_value(seed: int) -> Program:
    inputs, targets = regression(seed)
    model = nn.Sequential(perceptron(8, 1), nn.LayerNorm(1))
    return {"model": model, "data": (inputs, targets[:, None]), "loss": nn.MSELoss()}


class Clones(nn.Module):
    """Layers that start as copies of one, as ``nn.TransformerEncoder`` makes them, cut in between."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 2, 32, 0.0, batch_first=True)
        self.layers = nn.ModuleList(copy.deepcopy(layer) for _ in range(4))
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        for place, layer in enumerate(self.layers):
            x = layer(x)
            x = x.detach() if place == 1 else x
        return self.head(x.mean(1))


@seeded
def cut_between_clones(seed: int) -> Program:
    x = torch.randn(32, 5, 16)
    return classify(Clones(), (x, (x[:, 0, 0] > 0).long()))


SICK_CUTS: dict[str, tuple[Patient, str, str]] = {
    "one task's loss as a number": (task_as_a_number, "detached", "number.weight"),
    "features as floats": (rewrapped("floats"), "detached", "body.0.weight"),
    "features as a leaf of numbers": (rewrapped("leaf of numbers"), "detached", "body.0.weight"),
    "features as a leaf": (rewrapped("leaf"), "detached", "body.0.weight"),
    "loss made anew of a number": (loss_made_anew("number"), "detached", "0.weight"),
    "loss made anew of a tensor": (loss_made_anew("tensor"), "detached", "0.weight"),
    "loss made anew as a variable": (loss_made_anew("variable"), "detached", "0.weight"),
    "layer norm over one value": (norm_of_one_value, "detached", "0.0.weight"),
    "detach between clones of one layer": (cut_between_clones, "detached", "layers.0"),
}


# --- on purpose ------------------------------------------------------------------------------


class Student(nn.Module):
    """A student beside its teacher, which nobody froze."""

    def __init__(self) -> None:
        super().__init__()
        self.student = perceptron(8, 4)
        self.teacher = copy.deepcopy(self.student)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            aim = self.teacher(x).softmax(-1)
        return self.student(x + 0.1 * torch.randn_like(x)), aim


def taught(outputs: tuple[Tensor, Tensor], labels: Tensor) -> Tensor:
    return F.cross_entropy(outputs[0], labels) + F.mse_loss(outputs[0].softmax(-1), outputs[1])


@seeded
def teacher_as_it_starts(seed: int) -> Program:
    return {"model": Student(), "data": blobs(seed), "loss": taught}


@seeded
def teacher_left_out(seed: int) -> Program:
    model = Student()
    with torch.no_grad():
        for parameter in model.student.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    optimizer = torch.optim.Adam(model.student.parameters(), 1e-3)
    return {"model": model, "data": blobs(seed), "loss": taught, "optimizer": optimizer}


class Critics(nn.Module):
    """Two critics and their targets, as in clipped double Q-learning."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = perceptron(8, 1), perceptron(8, 1)
        self.target_one, self.target_two = copy.deepcopy(self.one), copy.deepcopy(self.two)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.one(x), self.two(x)], 1)


@seeded
def target_networks(seed: int) -> Program:
    states, _ = blobs(seed)

    def forward(model: Any, batch: tuple[Tensor, Tensor]) -> Tensor:
        now, later = batch
        aim = torch.minimum(model.target_one(later), model.target_two(later)).detach()
        return F.mse_loss(model(now), (now[:, :1] + 0.9 * aim).expand(-1, 2))

    return {"model": Critics(), "data": [(states, states.flip(0))], "forward": forward}


class Adversary(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.generator, self.critic = perceptron(4, 8), perceptron(8, 1)


@seeded
def critics_turn(seed: int) -> Program:
    model, (real, _) = Adversary(), blobs(seed)

    def forward(net: Any, batch: tuple[Tensor, Tensor]) -> Tensor:
        fake = net.generator(batch[1]).detach()
        return F.softplus(-net.critic(batch[0])).mean() + F.softplus(net.critic(fake)).mean()

    return {
        "model": model,
        "data": [(real, torch.randn(len(real), 4))],
        "forward": forward,
        "optimizer": torch.optim.Adam(model.critic.parameters(), 1e-3),
    }


@seeded
def generators_turn(seed: int) -> Program:
    return {
        "model": (model := Adversary()),
        "data": [(torch.randn(64, 4),)],
        "forward": lambda net, batch: F.softplus(-net.critic(net.generator(batch[0]))).mean(),
        "optimizer": torch.optim.Adam(model.generator.parameters(), 1e-3),
    }


@seeded
def head_that_is_logged(seed: int) -> Program:
    return {**classify(TwoHeads(logged=True), blobs(seed)), "optimizer": adam}


HEALTHY_CUTS: dict[str, Patient] = {
    "teacher that nobody froze": teacher_as_it_starts,
    "teacher that the optimizer does not hold": teacher_left_out,
    "target networks": target_networks,
    "the critic's turn in a GAN": critics_turn,
    "a head whose output is logged": head_that_is_logged,
}
