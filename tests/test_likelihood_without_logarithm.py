"""A negative log likelihood of what is no logarithm: of probabilities, of scores."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn import functional as F

import unvanish

Loss = Callable[[Tensor, Tensor], Tensor]


def batch() -> tuple[Tensor, Tensor]:
    x = torch.randn(128, 10, generator=torch.Generator().manual_seed(1))
    return x, x[:, :5].argmax(1)


class Logarithm(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.softmax(-1).log()


def net(last: nn.Module | None) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 5)]
    return nn.Sequential(*layers, *([last] if last is not None else []))


def named(model: nn.Module, loss: Any = None, **more: Any) -> list[tuple[str, str]]:
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    data = more.pop("data", batch())
    diagnosis = unvanish.diagnose(model, data, loss or nn.NLLLoss(), optimizer, **more)
    return [(f.name, f.where[0]) for f in diagnosis.findings if f.severity != "note"]


SICK = ((nn.Softmax(-1), "3"), (None, "2"))


@pytest.mark.parametrize("steps", [None, 20])
@pytest.mark.parametrize(("last", "where"), SICK)
def test_probabilities_and_scores(last: nn.Module | None, where: str, steps: int | None) -> None:
    more = {} if steps is None else {"steps": steps}
    assert named(net(last), **more) == [("unfit-loss", where)]
    x, y = batch()
    outputs = net(last)(x)
    read = F.nll_loss(outputs, y)
    right = F.cross_entropy(outputs if last is None else outputs.log(), y)
    assert not torch.isclose(read, right)
    assert torch.isclose(read, -outputs[torch.arange(len(y)), y].mean())


@pytest.mark.parametrize("steps", [None, 20])
@pytest.mark.parametrize("last", [nn.LogSoftmax(-1), Logarithm()])
def test_logarithms(last: nn.Module, steps: int | None) -> None:
    more = {} if steps is None else {"steps": steps}
    assert named(net(last), **more) == []
    x, y = batch()
    assert torch.isclose(F.nll_loss(net(last)(x), y), F.cross_entropy(net(None)(x), y))


def of_softmax(outputs: Tensor, y: Tensor) -> Tensor:
    return F.nll_loss(outputs.softmax(1), y)


def of_log_softmax(outputs: Tensor, y: Tensor) -> Tensor:
    return F.nll_loss(outputs.log_softmax(1), y)


def of_logarithm(outputs: Tensor, y: Tensor) -> Tensor:
    return F.nll_loss((outputs.softmax(1) + 1e-9).log(), y)


def of_difference(outputs: Tensor, y: Tensor) -> Tensor:
    return F.nll_loss(outputs - outputs.logsumexp(1, keepdim=True), y)


def turned(outputs: Tensor, y: Tensor) -> Tensor:
    return -F.nll_loss(outputs, y)


@pytest.mark.parametrize("loss", [of_log_softmax, of_logarithm, of_difference])
def test_logarithms_by_function(loss: Loss) -> None:
    x, y = batch()
    outputs = net(None)(x)
    assert torch.isclose(loss(outputs, y), F.cross_entropy(outputs, y))
    assert named(net(None), loss) == []


def test_probabilities_by_function() -> None:
    assert [name for name, _ in named(net(None), of_softmax)] == ["unfit-loss"]


@pytest.mark.parametrize("last", [nn.LogSoftmax(-1), Logarithm()])
def test_one_that_is_turned_round(last: nn.Module) -> None:
    assert "wrong-sign" in [name for name, _ in named(net(last), turned, steps=20)]


class Densities(nn.Module):
    """Logarithms of what each class expects of a sample: they may be above zero."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.randn(4, 1) * 0.1)
        self.logarithm = nn.Parameter(torch.full((4, 1), -2.5))

    def forward(self, x: Tensor) -> Tensor:
        narrow = 0.05 * x[:, None, :1]
        return Normal(self.mean, self.logarithm.exp()).log_prob(narrow).sum(-1)


def falls(model: nn.Module, data: tuple[Tensor, Tensor], steps: int = 100) -> tuple[float, float]:
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    losses = list[float]()
    for _ in range(steps):
        optimizer.zero_grad()
        loss = F.nll_loss(model(data[0]), data[1])
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses[0], losses[-1]


@pytest.mark.parametrize("steps", [None, 20])
def test_densities_are_above_one_by_right(steps: int | None) -> None:
    data = batch()[0], torch.arange(128) % 4
    torch.manual_seed(0)
    model = Densities()
    with torch.no_grad():
        model.mean.zero_()
    assert float(F.nll_loss(model(data[0]), data[1]).detach()) < 0
    more = {} if steps is None else {"steps": steps}
    assert named(model, data=data, **more) == []
    first, last = falls(model, data)
    assert last < first < 0


def test_the_logarithm_is_the_cure() -> None:
    def text() -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(1)
        y = torch.randint(20, (256,), generator=generator)
        return F.one_hot(y, 20).float() + 0.3 * torch.randn(256, 20, generator=generator), y

    def classes(last: nn.Module) -> nn.Sequential:
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 20), last)

    model = classes(nn.Softmax(-1))
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    found = unvanish.treat(model, text(), nn.NLLLoss(), optimizer=optimizer, steps=60)
    assert found.cured
    assert "logits-loss" in found.remedies
    layers = [type(layer) for layer in found.model.children()]
    assert layers == [nn.Linear, nn.ReLU, nn.Linear, nn.LogSoftmax]


def by_hand(scores: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy in two parts."""
    return F.nll_loss(scores, labels) + scores.logsumexp(1).mean()


def metric(scores: Tensor, labels: Tensor) -> Tensor:
    with torch.no_grad():
        F.nll_loss(scores, labels)
    return F.cross_entropy(scores, labels)


def logged(scores: Tensor, labels: Tensor) -> Tensor:
    F.nll_loss(scores.softmax(1), labels)
    return F.cross_entropy(scores, labels)


def contrast(scores: Tensor, labels: Tensor) -> Tensor:
    """Bounded below by the square."""
    beside = F.nll_loss(scores, (labels + 1) % 5)
    return F.nll_loss(scores, labels) - beside + 0.1 * scores.square().mean()


def robust(scores: Tensor, labels: Tensor) -> Tensor:
    """The absolute error of shares (Ghosh et al. 2017)."""
    return 1 + F.nll_loss(scores.softmax(1), labels)


@pytest.mark.parametrize("loss", [by_hand, metric, logged, contrast, robust])
def test_a_loss_of_which_it_is_a_part_or_none_is_quiet(loss: Loss) -> None:
    assert named(net(None), loss, steps=20) == []


def test_cross_entropy_in_two_parts_is_cross_entropy() -> None:
    x, y = batch()
    scores = net(None)(x)
    assert torch.allclose(by_hand(scores, y), F.cross_entropy(scores, y))


def called_again(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Cross entropy and the absolute error of shares, from two calls of the net."""
    return F.cross_entropy(model(x), y) + 2 * F.nll_loss(F.softmax(model(x), 1), y)


def rewarded(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The expected reward of what was tried, by importance: no logarithm belongs there."""
    tried = torch.arange(len(y)) % 5
    each = F.nll_loss(F.softmax(model(x), 1), tried, reduction="none")
    return (each * (tried == y).float() * 5).mean()


class Directions(nn.Module):
    """Cosines with fixed prototypes: they end at one."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 8))
        self.register_buffer("prototypes", F.normalize(torch.randn(5, 8), dim=1))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(F.normalize(self.body(x), dim=1), self.get_buffer("prototypes"))


@pytest.mark.parametrize("loss", [called_again, rewarded])
def test_losses_that_mean_probabilities_are_quiet(loss: Callable[..., Tensor]) -> None:
    model = net(None)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    x, y = batch()
    for _ in range(60):  # the sum may be below zero once something is learned
        optimizer.zero_grad()
        loss(model, x, y).backward()
        optimizer.step()
    forward = lambda model, batch: loss(model, *batch)  # noqa: E731
    diagnosis = unvanish.diagnose(model, (x, y), forward=forward, optimizer=optimizer)
    assert diagnosis.healthy, [f.name for f in diagnosis.findings]


def test_cosines_with_fixed_directions_are_quiet() -> None:
    assert named(Directions(), steps=20) == []
