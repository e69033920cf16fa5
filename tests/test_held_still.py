"""What is no fault because something stands: a victim that is attacked, targets that are met."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import unvanish

SEEDS = (0, 1, 2)


def classes(seed: int) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(seed)
    inputs = torch.randn(128, 20, generator=source)
    return inputs, inputs[:, :5].argmax(1)


def net(outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, outputs))


def learned(model: nn.Module, inputs: Tensor, labels: Tensor, steps: int) -> float:
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    loss = torch.zeros(())
    for _ in range(steps):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()
    return float(loss.detach())


class Attack(nn.Module):
    """Disturbs inputs so that a net which stands is wrong about them."""

    def __init__(self, victim: nn.Module) -> None:
        super().__init__()
        self.noise, self.victim = net(20), victim

    def forward(self, inputs: Tensor) -> Tensor:
        return self.victim(inputs + 0.3 * torch.tanh(self.noise(inputs)))


def raised(outputs: Tensor, labels: Tensor) -> Tensor:
    return -F.cross_entropy(outputs, labels)


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("seed", SEEDS)
def test_an_attack_on_a_net_that_stands_is_a_note(seed: int, inside: bool) -> None:
    torch.manual_seed(seed)
    inputs, labels = classes(seed)
    victim = net(5)
    learned(victim, inputs, labels, 60)
    victim.requires_grad_(False)
    attack = Attack(victim)
    if inside:
        diagnosis = unvanish.diagnose(attack, (inputs, labels), raised)
    else:
        diagnosis = unvanish.diagnose(
            attack.noise,
            (inputs, labels),
            forward=lambda noise, batch: raised(
                victim(batch[0] + 0.3 * torch.tanh(noise(batch[0]))), batch[1]
            ),
        )
    assert [(f.name, f.severity) for f in diagnosis.findings] == [("wrong-sign", "note")]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_head_over_a_frozen_trunk_is_none(seed: int) -> None:
    torch.manual_seed(seed)
    model = net(5)
    model[0].requires_grad_(False)
    first = unvanish.diagnose(model, classes(seed), raised).findings[0]
    assert (first.name, first.severity) == ("wrong-sign", "broken")


class Codes(nn.Module):
    """Codes of ones and minus ones, as hashing nets end up with."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.code, self.head = nn.Linear(20, 64), nn.Linear(64, 16), nn.Linear(16, 5)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(torch.tanh(self.code(torch.relu(self.first(inputs)))))


@pytest.mark.parametrize("seed", SEEDS)
def test_flat_ends_of_a_net_that_meets_its_targets_are_a_note(seed: int) -> None:
    torch.manual_seed(seed)
    model, (inputs, labels) = Codes(), classes(seed)
    assert learned(model, inputs, labels, 300) < 0.01
    with torch.no_grad():
        model.code.weight.mul_(20)
        model.code.bias.mul_(20)
        model.head.weight.mul_(3)
    assert float(F.cross_entropy(model(inputs), labels).detach()) < 0.01
    met = unvanish.diagnose(model, (inputs, labels), F.cross_entropy)
    others = torch.randint(5, (128,), generator=torch.Generator().manual_seed(seed))
    missed = unvanish.diagnose(model, (inputs, others), F.cross_entropy)
    said = [
        [f.severity for f in diagnosis.findings if f.name == "saturated-activation"]
        for diagnosis in (met, missed)
    ]
    assert said[0] == ["note"]
    assert said[1] in (["harmful"], ["broken"])
