"""Norms, skips, time and finite width: published factors, and nets of random weights measured."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from unvanish import theory
from unvanish.errors import BadInput

# Mean square gradient per layer with batch norm before the activation, large batches
# (Yang et al. 2019, arXiv:1902.08129; pi / (pi - 1) for ReLU).
BATCH_NORM = {
    "relu": math.pi / (math.pi - 1), "leaky_relu": 1.453, "gelu": 1.319, "silu": 1.212, "mish": 1.214,
    "tanh": 1.178, "softplus": 1.081, "elu": 1.079, "selu": 1.072, "sigmoid": 1.034, "linear": 1.0,
}  # fmt: skip
LAYER_NORM = {
    "relu": 1.0, "tanh": 1.178, "erf": 1.226, "gelu": 1.072, "silu": 1.067, "mish": 1.059,
    "elu": 1.036, "selu": 1.072, "sigmoid": 0.153, "softplus": 0.319,
}  # fmt: skip
GAINS = {
    "linear": 1.0, "relu": 1.4142, "tanh": 1.5925, "gelu": 1.5335, "silu": 1.6765, "elu": 1.2452,
    "mish": 1.4868, "selu": 1.0,
}  # fmt: skip


@pytest.mark.parametrize(("name", "factor"), BATCH_NORM.items())
def test_batch_norm_factor_is_the_published_one(name: str, factor: float) -> None:
    assert theory.batch_norm_factor(name) == pytest.approx(factor, abs=6e-4)


@pytest.mark.parametrize(("name", "factor"), LAYER_NORM.items())
def test_layer_norm_factor_is_the_published_one(name: str, factor: float) -> None:
    assert theory.layer_norm_factor(name) == pytest.approx(factor, abs=6e-4)
    assert theory.rms_norm_factor(name) == theory.layer_norm_factor(name)


@pytest.mark.parametrize(("name", "gain"), GAINS.items())
def test_gain_is_the_published_one(name: str, gain: float) -> None:
    assert theory.gain(name) == pytest.approx(gain, abs=1e-4)


def squared_factor(layers: list[nn.Module], x: Tensor) -> float:
    """Mean square gradient per layer between the last and the second one, as measured."""
    outputs = [x.requires_grad_()]
    for layer in layers:
        outputs.append(layer(outputs[-1]))
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(outputs[-1].shape, generator=generator, dtype=x.dtype)
    gradients = torch.autograd.grad((outputs[-1] * noise).sum(), [outputs[2], outputs[-1]])
    first, last = (float(gradient.norm() ** 2) for gradient in gradients)
    return (first / last) ** (1 / (len(layers) - 2))


def linear(width: int, weight: float = 1.0) -> nn.Linear:
    layer = nn.Linear(width, width, bias=False)
    nn.init.normal_(layer.weight, std=math.sqrt(weight / width))
    return layer


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.GELU])
def test_batch_norm_explodes_at_the_predicted_rate(activation: type[nn.Module]) -> None:
    torch.manual_seed(0)
    layers = [nn.Sequential(linear(400), nn.BatchNorm1d(400), activation()) for _ in range(12)]
    measured = squared_factor(layers, torch.randn(300, 400))
    assert measured == pytest.approx(theory.batch_norm_factor(activation()), rel=0.03)


@pytest.mark.parametrize("batch", [8, 12, 30])
@pytest.mark.parametrize("activation", [nn.Identity, nn.ReLU, nn.Tanh, nn.GELU])
def test_batch_norm_explodes_faster_in_small_batches(
    activation: type[nn.Module], batch: int
) -> None:
    torch.manual_seed(0)
    layers = [nn.Sequential(linear(800), nn.BatchNorm1d(800), activation()) for _ in range(16)]
    runs = [squared_factor(layers, torch.randn(batch, 800)) for _ in range(3)]
    expected = theory.batch_norm_factor(activation(), batch)
    assert sum(runs) / len(runs) == pytest.approx(expected, rel=0.04)
    assert expected > theory.batch_norm_factor(activation())


def test_linear_batch_norm_in_small_batches_is_the_published_one() -> None:
    for batch in (4, 6, 10, 30, 1000):
        published = (batch - 2) / (batch - 3)
        assert theory.batch_norm_factor(None, batch) == pytest.approx(published, rel=1e-6)
    assert theory.batch_norm_factor("relu", 9e5) == pytest.approx(math.pi / (math.pi - 1), abs=1e-3)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.Sigmoid])
def test_layer_norm_keeps_its_factor(activation: type[nn.Module], after: bool) -> None:
    torch.manual_seed(0)
    parts = [(linear(500), activation(), nn.LayerNorm(500)) for _ in range(10)]
    layers = [nn.Sequential(a, c, b) if not after else nn.Sequential(a, b, c) for a, b, c in parts]
    measured = squared_factor(layers, torch.randn(100, 500))
    expected = theory.layer_norm_factor(activation(), after=after)
    assert measured == pytest.approx(expected, rel=0.05)


class Block(nn.Module):
    """``norm_after(skip x + branch f(norm_before(x)))`` with a fresh linear map and ReLU in f."""

    def __init__(self, skip: float, branch: float, before: bool = False, after: bool = False):
        super().__init__()
        self.first, self.second = linear(400, 2.0), linear(400)
        self.skip, self.branch = skip, branch
        self.before = nn.RMSNorm(400) if before else nn.Identity()
        self.after = nn.RMSNorm(400) if after else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        inner = self.second(torch.relu(self.first(self.before(x))))
        return self.after(self.skip * x + self.branch * inner)


def total(blocks: list[nn.Module], count: int) -> float:
    return squared_factor([nn.Identity(), nn.Identity(), *blocks], torch.randn(50, 400)) ** count


def test_skips_grow_as_predicted() -> None:
    torch.manual_seed(0)
    count = 10
    cases = [
        (theory.plain_sum(count), [Block(1, 1) for _ in range(count)]),
        (theory.scaled_branches(count), [Block(1, count**-0.5) for _ in range(count)]),
        (theory.gated(count, 0.1), [Block(1, 0.1) for _ in range(count)]),
        (theory.pre_norm(count), [Block(1, 1, before=True) for _ in range(count)]),
        (theory.post_norm(count), [Block(1, 1, after=True) for _ in range(count)]),
    ]
    for growth, blocks in cases:
        assert total(blocks, count) == pytest.approx(growth.backward, rel=0.25)


def test_published_growth_of_residual_nets() -> None:
    assert theory.plain_sum(20).backward == 2**20
    assert theory.pre_norm(24).backward == pytest.approx(25)
    assert theory.post_norm(24, backward=0).backward == 0.5**24
    assert 1 - 1e-2 < theory.deep_norm(50, backward=1).backward <= 1
    assert theory.deep_norm(50, backward=0).backward > 0.7
    assert theory.gated(10_000, 0.0).backward == 1
    assert theory.plain_sum(20).gradient_decades == pytest.approx(20 * math.log10(2) / 2)


def test_time_gain_is_that_of_a_real_cell() -> None:
    torch.manual_seed(0)
    width, steps, drive = 500, 12, 0.3
    recurrent = torch.randn(width, width) * math.sqrt(1.5 / width)
    states = [torch.randn(20, width, requires_grad=True)]
    for _ in range(20 + steps):
        driven = states[-1] @ recurrent.T + torch.randn(20, width) * math.sqrt(drive)
        states.append(torch.tanh(driven))
    noise = torch.randn(20, width)
    gradients = torch.autograd.grad((states[-1] * noise).sum(), [states[-1 - steps], states[-1]])
    measured = math.log10(float(gradients[0].norm() / gradients[1].norm()))
    assert measured == pytest.approx(theory.time_gain("tanh", 1.5, steps, drive), abs=0.06)


def test_cell_path_of_a_real_lstm() -> None:
    """With no other path (zero recurrent weights) the cell passes on sigmoid(bias) a step."""
    for bias, each in ((0.0, 0.5), (1.0, 0.7311)):
        assert 10 ** theory.cell_gain(bias, 1) == pytest.approx(each, abs=1e-4)
        cell = nn.LSTMCell(4, 4).double()
        for parameter in cell.parameters():
            nn.init.zeros_(parameter)
        with torch.no_grad():
            cell.bias_ih[4:8] = bias
        start = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
        hidden, state = torch.zeros(3, 4, dtype=torch.float64), start
        for _ in range(10):
            hidden, state = cell(torch.zeros(3, 4, dtype=torch.float64), (hidden, state))
        (gradient,) = torch.autograd.grad(state.sum(), start)
        assert math.log10(float(gradient[0, 0])) == pytest.approx(theory.cell_gain(bias, 10))


def haar(weight: Tensor) -> Tensor:
    """Orthogonal matrices without a preferred direction: the signs of QR alone have one."""
    orthogonal, rest = torch.linalg.qr(weight)
    return orthogonal * torch.diagonal(rest, dim1=-2, dim2=-1).sign()[..., None, :]


def logs_of_gradient(
    leak: float, width: int, depth: int, draws: int, orthogonal: bool
) -> np.ndarray:
    """ln(squared gradient at the input over that at the output) for draws of leaky ReLU nets."""
    torch.manual_seed(0)
    size = 2 / (1 + leak**2)
    x = torch.randn(draws, width, 1, dtype=torch.float64)
    weights, gates = [], []
    for _ in range(depth):
        weight = torch.randn(draws, width, width, dtype=torch.float64) / math.sqrt(width)
        if orthogonal:
            weight = haar(weight)
        weights.append(math.sqrt(size) * weight)
        u = weights[-1] @ x
        gates.append(torch.where(u > 0, 1.0, leak))
        x = u * gates[-1]
    delta = torch.randn(draws, width, 1, dtype=torch.float64)
    start = (delta**2).sum((1, 2))
    for weight, gate in zip(reversed(weights), reversed(gates), strict=True):
        delta = weight.transpose(1, 2) @ (gate * delta)
    return torch.log((delta**2).sum((1, 2)) / start).numpy()


@pytest.mark.parametrize(
    ("leak", "orthogonal", "width", "depth"),
    [(0.0, False, 48, 30), (0.0, False, 48, 15), (1.0, False, 48, 30), (0.3, True, 48, 30)],
)
def test_one_draw_spreads_as_predicted(
    leak: float, orthogonal: bool, width: int, depth: int
) -> None:
    found = logs_of_gradient(leak, width, depth, 300, orthogonal)
    way = "orthogonal" if orthogonal else "gaussian"
    expected = theory.fluctuation(nn.LeakyReLU(leak), depth, width, way)
    error = math.sqrt(2 / 300)
    assert found.var() == pytest.approx(expected.variance, rel=3 * error + 0.08)
    standard = math.sqrt(expected.variance / 300)
    assert found.mean() == pytest.approx(expected.shift, abs=4 * standard + 0.1)


def test_published_spread_of_he_nets() -> None:
    for width, depth, variance in (
        (64, 50, 3.91),
        (128, 50, 1.95),
        (256, 50, 0.98),
        (64, 100, 7.81),
    ):
        found = theory.fluctuation("relu", depth, width)
        assert found.variance == pytest.approx(variance, abs=0.005)
        assert found.shift == -found.variance / 2
    assert theory.fluctuation(None, 100, 50).variance == pytest.approx(2 * 100 / 50)
    assert theory.fluctuation(None, 1000, 64, "orthogonal").variance == 0
    assert theory.fluctuation("relu", 3, [10, 20, 40]).variance == pytest.approx(5 * 0.175)


@pytest.mark.parametrize(("leak", "orthogonal"), [(0.0, False), (1.0, False), (0.3, True)])
def test_singular_values_spread_as_predicted(leak: float, orthogonal: bool) -> None:
    torch.manual_seed(0)
    width, depth = 400, 3
    product = torch.eye(width, dtype=torch.float64)
    for _ in range(depth):
        weight = torch.randn(width, width, dtype=torch.float64) / math.sqrt(width)
        if orthogonal:
            weight = haar(weight)
        gate = torch.where(torch.rand(width) < 0.5, 1.0, leak).double()
        product = gate[:, None] * (weight @ product)
    squares = torch.linalg.svdvals(product) ** 2
    found = float((squares / squares.mean()).var())
    way = "orthogonal" if orthogonal else "gaussian"
    expected = theory.singular_value_variance(nn.LeakyReLU(leak), depth, way)
    assert found == pytest.approx(expected, rel=0.15)


def test_bad_input_is_refused_in_a_sentence() -> None:
    for call, words in [
        (lambda: theory.batch_norm_factor("relu", batch=3), "finite mean square"),
        (lambda: theory.plain_sum(-1), "no depth"),
        (lambda: theory.plain_sum(3, forward=-1.0), "ratio of mean squares"),
        (lambda: theory.time_gain("tanh", -1.0, 10), "no variance"),
        (lambda: theory.time_gain("tanh", 1.0, True), "no depth"),
        (lambda: theory.forget_bias_for(0.0), "number of steps"),
        (lambda: theory.fluctuation("relu", 0, 64), "number of layers"),
        (lambda: theory.fluctuation("relu", 2, [64]), "one for each"),
        (lambda: theory.fluctuation("relu", 2, 64, "uniform"), "gaussian, orthogonal"),
        (lambda: theory.slope_kurtosis(lambda x: 0 * x), "flat"),
    ]:
        with pytest.raises(BadInput, match=words):
            call()
