"""Tensors that a model keeps without registering them: whether anything steps them decides."""

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from patients import blobs
from torch import Tensor, nn

import unvanish
from unvanish.training.optimizer import read_optimizer

Step = torch.optim.Optimizer


class Listed(nn.Module):
    """Hidden layers in a plain list."""

    def __init__(self, depth: int = 2) -> None:
        super().__init__()
        self.hidden = [nn.Linear(32, 32) for _ in range(depth)]
        self.out = nn.Linear(32, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        for layer in self.hidden:
            inputs = torch.tanh(layer(inputs))
        return self.out(inputs)


def steps(model: nn.Module, optimizer: Step, data: tuple[Tensor, Tensor], count: int = 5) -> None:
    """Train for real."""
    for _ in range(count):
        optimizer.zero_grad()
        F.cross_entropy(model(data[0]), data[1]).backward()
        optimizer.step()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_listed_layers_that_the_optimizer_holds_train(seed: int) -> None:
    torch.manual_seed(seed)
    model, data = Listed(), blobs(seed)
    hidden = [p for layer in model.hidden for p in layer.parameters()]
    optimizer = torch.optim.Adam([*model.parameters(), *hidden], 1e-2)
    diagnosis = unvanish.diagnose(model, data, nn.CrossEntropyLoss(), optimizer=optimizer)
    assert diagnosis.healthy, diagnosis.findings
    (stepped,) = (e for e in diagnosis.expected if e.name == "unregistered-but-stepped")
    assert stepped.where == ("hidden.0.weight", "hidden.0.bias", "hidden.1.weight", "hidden.1.bias")
    before = [p.detach().clone() for p in hidden]
    steps(model, optimizer, data)
    assert not any(torch.equal(p, q) for p, q in zip(hidden, before, strict=True))


def test_listed_layers_that_it_holds_at_rate_zero_do_not_train() -> None:
    torch.manual_seed(0)
    model, data = Listed(1), blobs(0)
    hidden = list(model.hidden[0].parameters())
    optimizer = torch.optim.SGD(
        [{"params": model.parameters()}, {"params": hidden, "lr": 0.0}], 0.1
    )
    diagnosis = unvanish.diagnose(model, data, nn.CrossEntropyLoss(), optimizer=optimizer)
    assert diagnosis.findings[0].name == "unregistered-module"
    before = copy.deepcopy(hidden)
    steps(model, optimizer, data)
    assert all(torch.equal(p, q) for p, q in zip(hidden, before, strict=True))


@pytest.mark.parametrize("held", [0, 1])
def test_only_those_that_nothing_steps_are_named(held: int) -> None:
    torch.manual_seed(0)
    model, data = Listed(), blobs(0)
    optimizer = torch.optim.SGD([*model.parameters(), *model.hidden[held].parameters()], 0.1)
    diagnosis = unvanish.diagnose(model, data, nn.CrossEntropyLoss(), optimizer=optimizer)
    first = diagnosis.findings[0]
    assert (first.name, first.severity, first.evidence["tensors"]) == (
        "unregistered-module",
        "broken",
        2.0,
    )
    left = f"hidden.{1 - held}"
    assert first.where[:2] == (f"{left}.weight", f"{left}.bias")
    before = copy.deepcopy(model.hidden)
    steps(model, optimizer, data)
    moved = [not torch.equal(a.weight, b.weight) for a, b in zip(model.hidden, before, strict=True)]
    assert moved == [held == 0, held == 1]


def test_layers_made_anew_are_not_those_that_the_optimizer_holds() -> None:
    torch.manual_seed(0)
    model, data = Listed(1), blobs(0)
    optimizer = torch.optim.SGD([*model.parameters(), *model.hidden[0].parameters()], 0.1)
    model.hidden = [nn.Linear(32, 32)]
    diagnosis = unvanish.diagnose(model, data, nn.CrossEntropyLoss(), optimizer=optimizer)
    assert diagnosis.findings[0].name == "unregistered-module"


class Weighing(nn.Module):
    """Two heads, and the logarithms of what their losses count, which it keeps by itself."""

    def __init__(self, kept: Any) -> None:
        super().__init__()
        self.layer = nn.Linear(32, 4)
        self.kept = kept

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layer(inputs)


def weighed(model: Weighing) -> Any:
    def loss(outputs: Tensor, labels: Tensor) -> Tensor:
        logs = model.kept["logs"] if isinstance(model.kept, dict) else model.kept
        return torch.exp(-logs[0]) * F.cross_entropy(outputs, labels) + logs[0]

    return loss


def notes(model: Weighing, optimizer: Step, **more: Any) -> list[tuple[str, ...]]:
    loss = {} if "step" in more else {"loss": weighed(model)}
    diagnosis = unvanish.diagnose(model, blobs(0), optimizer=optimizer, **loss, **more)
    assert diagnosis.healthy, diagnosis.findings
    return [f.where for f in diagnosis.findings if f.name == "not-in-optimizer"]


@pytest.mark.parametrize("nested", [False, True])
def test_a_plain_tensor_of_the_loss_that_nothing_known_steps_is_a_note(nested: bool) -> None:
    torch.manual_seed(0)
    logs = torch.zeros(2, requires_grad=True)
    model = Weighing({"logs": logs} if nested else logs)
    registered = torch.optim.Adam(model.parameters(), 1e-2)
    assert notes(model, registered) == [("kept.logs" if nested else "kept",)]
    assert notes(model, torch.optim.Adam([*model.parameters(), logs], 1e-2)) == []


def test_a_temperature_with_an_optimizer_of_its_own_in_the_step_is_stepped() -> None:
    torch.manual_seed(0)
    model = Weighing(torch.zeros(2, requires_grad=True))
    main, aside = torch.optim.Adam(model.parameters(), 1e-2), torch.optim.Adam([model.kept], 1e-2)

    def step(net: Weighing, optimizer: Step, batch: tuple[Tensor, Tensor]) -> Tensor:
        optimizer.zero_grad()
        aside.zero_grad()
        loss = weighed(model)(net(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        aside.step()
        return loss

    assert notes(model, main, step=step) == []


def test_another_network_that_is_kept_aside_is_no_note() -> None:
    """An actor that keeps its critic in a list: the critic trains in a turn of its own."""
    torch.manual_seed(0)
    critic = nn.Linear(4, 1)
    actor = Weighing([critic])
    diagnosis = unvanish.diagnose(
        actor,
        blobs(0),
        lambda outputs, _: -critic(outputs).mean(),
        optimizer=torch.optim.Adam(actor.parameters(), 1e-3),
    )
    assert not [f for f in diagnosis.findings if f.name == "not-in-optimizer"]


def test_what_is_read_of_an_optimizer_says_which_unregistered_tensors_it_steps() -> None:
    model = Listed(1)
    model.plain = [torch.zeros(1, requires_grad=True), torch.zeros(1)]
    inner = list(model.hidden[0].parameters())
    reading = read_optimizer(torch.optim.SGD([*model.parameters(), *inner], 0.1), model)
    assert reading.unregistered == ("hidden.0.weight", "hidden.0.bias")
    assert reading.plain == ("plain.0",)
    aside = torch.optim.SGD([model.plain[0]], 0.1)
    reading = read_optimizer(torch.optim.SGD(model.parameters(), 0.1), model, [aside])
    assert (reading.unregistered, reading.plain) == (("plain.0",), ())
