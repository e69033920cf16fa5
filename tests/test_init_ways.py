"""What signals pass on their way: activations that end a branch, permutations, weights on the left."""

import dataclasses
import itertools
import math
from collections.abc import Callable

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

from unvanish import init
from unvanish.init.stretches import leaves_scale
from unvanish.theory.activations import nonlinearity

WIDTH = 32


def batch(*shape: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(*(shape or (64, WIDTH)), generator=generator)
    return inputs, torch.arange(len(inputs)) % 5


class Ending(nn.Module):
    """A residual block whose branch ends behind its last weight."""

    def __init__(self, *end: nn.Module) -> None:
        super().__init__()
        first, last = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.inside = nn.Sequential(first, nn.ReLU(), last, *end)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inside(x)  # type: ignore[no-any-return]


@pytest.mark.parametrize("end", [nn.ReLU, nn.Tanh, nn.GELU])
def test_a_branch_that_ends_in_an_activation_is_divided(end: Callable[[], nn.Module]) -> None:
    """L branches of energy 1/L and mean m/root(L) add one and L m^2 (ReLU: 4), not a power of L."""
    torch.manual_seed(0)
    net = nn.Sequential(*(Ending(end()) for _ in range(24)), nn.Linear(WIDTH, 5))
    report = init.critical_(net, batch(), F.cross_entropy)
    root = math.sqrt(24)
    for change in report.changes:
        if change.module.endswith("inside.2"):
            assert change.numbers["gain"] == pytest.approx(math.sqrt(2) / root, rel=0.05)
    stream = net[:-1](batch()[0])
    assert float(stream.detach().square().mean()) < 10
    assert "forward scale" not in report.after.faults


def test_what_mixes_behind_the_last_weight_is_not_taken_for_its_end() -> None:
    class Product(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * x.roll(1, 1)

    torch.manual_seed(0)
    net = nn.Sequential(*(Ending(Product()) for _ in range(4)), nn.Linear(WIDTH, 5))
    report = init.critical_(net, batch(), F.cross_entropy)
    assert report.changed("0.inside.2").numbers["gain"] == pytest.approx(math.sqrt(2))


class Indexed(nn.Module):
    def __init__(self, index: object) -> None:
        super().__init__()
        self.index = index

    def forward(self, x: Tensor) -> Tensor:
        return x[:, self.index]  # type: ignore[index]


ORDER = torch.randperm(WIDTH, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize(
    "index", [ORDER, ORDER.tolist(), ORDER.numpy()], ids=["tensor", "list", "array"]
)
def test_pairs_are_not_carried_through_a_permutation(index: object) -> None:
    """What the pairs stand for is gone: mirrored, the gradient changed by a factor of thirty."""
    torch.manual_seed(0)
    layers = [m for _ in range(20) for m in (nn.Linear(WIDTH, WIDTH), nn.ReLU(), Indexed(index))]
    report = init.critical_(nn.Sequential(*layers, nn.Linear(WIDTH, 5)), batch(), F.cross_entropy)
    assert {change.method for change in report.changes} == {"orthogonal"}
    assert "backward scale" not in report.after.faults


class Past(nn.Module):
    """Cuts off what the padding of a causal convolution added at the end."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, :-2]


class Last(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, -1]


def test_ranges_and_single_places_are_read_through() -> None:
    torch.manual_seed(0)
    convolutions = [nn.Conv1d(WIDTH, WIDTH, 3, padding=2) for _ in range(12)]
    layers = [m for convolution in convolutions for m in (convolution, nn.ReLU(), Past())]
    net = nn.Sequential(*layers, Last(), nn.Linear(WIDTH, 5))
    report = init.critical_(net, batch(16, WIDTH, 10), F.cross_entropy)
    methods = [change.method for change in report.changes]
    assert all(method.startswith("mirrored") for method in methods[:-1]), methods
    assert methods[-1].startswith("last of a stretch")


class Left(nn.Module):
    """``W @ x``: mixes the rows of each sample."""

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.W = nn.Parameter(torch.randn(rows, columns) / math.sqrt(columns))

    def forward(self, x: Tensor) -> Tensor:
        return self.W @ x


def test_a_weight_on_the_left_mixes_rows() -> None:
    """Singular values are those of a map from columns to rows, not of one from rows to columns."""
    torch.manual_seed(0)
    sizes = [(64, 8), (8, 64)] * 2
    layers = [m for rows, columns in sizes for m in (Left(rows, columns), nn.ReLU())]
    net = nn.Sequential(nn.Unflatten(1, (8, 4)), *layers, nn.Flatten(), nn.Linear(32, 5))
    report = init.critical_(net, batch(), F.cross_entropy)
    assert {change.method for change in report.changes} == {"orthogonal"}, "no pairs of columns"
    for place, (rows, columns) in zip(range(1, 9, 2), sizes, strict=True):
        weight = net[place].W.detach().double()
        gain = 1 if place == 1 else math.sqrt(2)
        wanted = gain * math.sqrt(max(rows / columns, 1))
        values = torch.linalg.svdvals(weight)
        assert values.tolist() == pytest.approx([wanted] * len(values), rel=1e-5)
    assert "forward scale" not in report.after.faults
    assert "backward scale" not in report.after.faults


# --- activations that are chaotic at scale one ---------------------------------------------------


class Sine(nn.Module):
    def __init__(self, frequency: float) -> None:
        super().__init__()
        self.frequency = frequency

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(self.frequency * x)


class Waving(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inside = nn.Sequential(nn.Linear(WIDTH, WIDTH), Sine(30), nn.Linear(WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inside(x)  # type: ignore[no-any-return]


def test_the_gradient_of_a_sine_grows_as_the_closed_form_says() -> None:
    """E cos^2 / E sin^2 at variance w^2 is w^2 (1 + exp(-2 w^2)) / (1 - exp(-2 w^2)) a layer."""
    for frequency in (1.0, 1.3, 2.0):
        damped = math.exp(-2 * frequency**2)
        growth = frequency**2 * (1 + damped) / (1 - damped)
        for layers in range(1, 9):
            function = nonlinearity(Sine(frequency))
            assert leaves_scale(function, layers) == (growth**layers > 100)


@pytest.mark.parametrize("name", ["sigmoid", "softplus"])
def test_what_loses_the_gradient_in_a_few_layers_is_off_scale(name: str) -> None:
    """chi = E f'^2 / E f^2 under a normal variable, by plain sums."""
    function = {"sigmoid": torch.sigmoid, "softplus": F.softplus}[name]
    x = torch.linspace(-9, 9, 200_001, dtype=torch.float64, requires_grad=True)
    weight = torch.exp(-(x.detach() ** 2) / 2)
    values = function(x)
    (slopes,) = torch.autograd.grad(values.sum(), x)
    chi = float((weight * slopes**2).sum() / (weight * values.detach() ** 2).sum())
    assert chi < 0.5
    for layers in range(1, 9):
        assert leaves_scale(nonlinearity(name), layers) == (chi**layers < 0.01)


@pytest.mark.parametrize("depth", [4, 7])
def test_shallow_sigmoid_nets_hand_the_gradient_on_and_learn(depth: int) -> None:
    data = load_digits()
    inputs, targets = torch.tensor(data.data / 16).float()[:256], torch.tensor(data.target)[:256]
    torch.manual_seed(0)
    sizes = [64] + [64] * (depth - 1)
    layers = [
        part for a, b in itertools.pairwise(sizes) for part in (nn.Linear(a, b), nn.Sigmoid())
    ]
    model = nn.Sequential(*layers, nn.Linear(64, 10))
    init.critical_(model, (inputs, targets), F.cross_entropy)
    optimizer = torch.optim.Adam(model.parameters())
    for _ in range(100):
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    assert float((model(inputs).argmax(1) == targets).float().mean()) > 0.9


def test_common_activations_keep_the_scale_in_shallow_nets_and_branches() -> None:
    for name in ("relu", "tanh", "gelu", "silu", "elu", "selu", "sin"):
        assert not leaves_scale(nonlinearity(name), 8), name
        assert not leaves_scale(nonlinearity(name), 4, 100), name


@pytest.mark.parametrize("residual", [False, True], ids=["plain", "branches"])
def test_shallow_sines_of_high_frequency_keep_the_gradient(residual: bool) -> None:
    torch.manual_seed(0)
    layers = [m for _ in range(5) for m in (nn.Linear(WIDTH, WIDTH), Sine(30))]
    body = [nn.Linear(WIDTH, WIDTH), *(Waving() for _ in range(12))] if residual else layers
    net = nn.Sequential(*body, nn.Linear(WIDTH, 5))
    report = init.critical_(net, batch(), F.cross_entropy)
    assert report.after.faults == (), str(report)
    assert abs(report.after.gate.backward_decades) < 0.5  # type: ignore[union-attr, operator]


@pytest.mark.parametrize("activation", [nn.Tanh, nn.ELU, nn.GELU])
def test_shallow_nets_of_common_activations_are_as_they_were(
    activation: Callable[[], nn.Module],
) -> None:
    torch.manual_seed(0)
    layers = [m for _ in range(5) for m in (nn.Linear(WIDTH, WIDTH), activation())]
    report = init.critical_(nn.Sequential(*layers, nn.Linear(WIDTH, 5)), batch(), F.cross_entropy)
    assert {change.method for change in report.changes} == {"orthogonal"}


# --- the verdict ---------------------------------------------------------------------------------


def test_a_net_of_one_hidden_layer_is_not_said_to_be_in_order() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 5))
    report = init.critical_(net, batch(), F.cross_entropy)
    assert report.after.gate is None
    assert "in order" not in str(report)
    assert init.InitReport.from_json(report.to_json()) == report


def test_what_newly_fails_is_told_apart() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        *(m for _ in range(6) for m in (nn.Linear(WIDTH, WIDTH), nn.Tanh())), nn.Linear(WIDTH, 5)
    )
    report = init.critical_(net, batch(), F.cross_entropy)
    bad, good = (
        dataclasses.replace(report.after, arrives=False),
        dataclasses.replace(report.after, arrives=True),
    )
    for before, verdict in (
        (good, "newly failing: backward scale"),
        (bad, "still failing: backward scale"),
    ):
        said = str(dataclasses.replace(report, before=before, after=bad)).splitlines()[-1]
        assert said.endswith(verdict), said
