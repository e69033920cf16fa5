"""unvanish.nn against truths that it does not compute itself: Gauss-Hermite, closed forms, autograd."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

import unvanish
from unvanish import theory
from unvanish.errors import BadInput
from unvanish.nn import (
    ChronoLSTM,
    GatedResidual,
    GradientValve,
    Homeostatic,
    Rational,
    RegulatedRNN,
    ShapedActivation,
    Swish,
    TailoredActivation,
    TailoredLeakyReLU,
    TailoredPReLU,
    TailoredSwish,
    regulate_,
)
from unvanish.nn.tailored import leaky_cosine, tailored_slope

SMOOTH: dict[str, Callable[[], nn.Module]] = {
    "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "gelu": nn.GELU, "silu": nn.SiLU, "mish": nn.Mish,
    "softplus": nn.Softplus, "logsigmoid": nn.LogSigmoid, "tanhshrink": nn.Tanhshrink,
    "elu": nn.ELU, "celu": nn.CELU, "softsign": nn.Softsign,
}  # fmt: skip

BENT = ("elu", "celu", "softsign")  # their second derivative jumps


def hermite(degree: int = 160) -> tuple[Tensor, Tensor]:
    """Gauss-Hermite points and weights for z ~ N(0, 1): not the rule the package uses."""
    points, weights = np.polynomial.hermite_e.hermegauss(degree)
    return torch.tensor(points), torch.tensor(weights / weights.sum())


def maps(activation: nn.Module, bent: bool = False) -> dict[str, float]:
    """Q(1), Q'(1), C(0), C'(1), C''(1) and float64 autograd; ``bent``: the curvature jumps."""
    z, weight = fine() if bent else hermite()
    z.requires_grad_()
    value = activation(z)
    (slope,) = torch.autograd.grad(value.sum(), z, create_graph=True)
    (bend,) = torch.autograd.grad(slope.sum(), z)
    found = {
        "Q": value.square(), "Q'": value * slope * z, "C0": value, "C'": slope.square(),
        "C''": bend.square(),
    }  # fmt: skip
    return {name: float((weight * numbers).sum().detach()) for name, numbers in found.items()}


@pytest.mark.parametrize("depth", [10, 100])
@pytest.mark.parametrize("name", SMOOTH)
def test_kernel_shaping_meets_its_four_conditions(name: str, depth: int) -> None:
    found = maps(ShapedActivation(SMOOTH[name](), depth).double(), name in BENT)
    tight = 1e-6 if name not in BENT else 1e-4
    room = 1.5 ** (1 / depth) - 1
    assert found["Q"] == pytest.approx(1, abs=tight)
    assert found["C0"] == pytest.approx(0, abs=tight)
    assert found["Q'"] == pytest.approx(1, abs=max(tight, 0.02 * room))
    assert found["C'"] - 1 == pytest.approx(room, rel=0.01)


@pytest.mark.parametrize("depth", [10, 100])
@pytest.mark.parametrize("name", SMOOTH)
def test_tailoring_meets_its_four_conditions(name: str, depth: int) -> None:
    found = maps(TailoredActivation(SMOOTH[name](), depth).double(), name in BENT)
    tight = 1e-6 if name not in BENT else 1e-4
    assert found["Q"] == pytest.approx(1, abs=tight)
    assert found["C'"] == pytest.approx(1, abs=tight)
    assert found["Q'"] == pytest.approx(1, abs=max(tight, 1e-5))
    assert found["C''"] == pytest.approx(0.3 / depth, rel=5e-3)


@pytest.mark.parametrize("function", [torch.sin, torch.erf, torch.atan])
def test_functions_are_shaped_as_modules_are(function: Callable[[Tensor], Tensor]) -> None:
    assert maps(TailoredActivation(function, 50))["C'"] == pytest.approx(1, abs=1e-6)


def test_constants_of_tailored_tanh_do_not_run_to_the_tails_with_depth() -> None:
    shifts = [
        abs(TailoredActivation(nn.Tanh(), depth).transform.shift) for depth in (10, 100, 9999)
    ]
    assert shifts == pytest.approx([0.557, 0.522, 0.518], abs=2e-3)


# Slopes measured and published with the method (depth, slope).
SLOPES = {20: 0.181, 30: 0.303, 50: 0.431, 100: 0.570, 300: 0.732, 1000: 0.844, 10000: 0.948}


@pytest.mark.parametrize(("depth", "slope"), SLOPES.items())
def test_tailored_slopes(depth: int, slope: float) -> None:
    assert tailored_slope(depth) == pytest.approx(slope, abs=6e-4)


@pytest.mark.parametrize("slope", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("cosine", [-0.5, 0.0, 0.7])
def test_closed_cosine_map_is_that_of_theory(slope: float, cosine: float) -> None:
    from unvanish.theory.activations import two_sided

    field = theory.MeanField(
        activation=two_sided("leaky", slope, 1.0), weight=2 / (1 + slope**2), bias=0.0
    )
    assert field.next_correlation(cosine, 1.0) == pytest.approx(
        leaky_cosine(cosine, slope), abs=1e-5
    )


def fine() -> tuple[Tensor, Tensor]:
    """The midpoint rule, with a step that a jump does not hurt; no point at zero."""
    step = 1e-4
    z = (torch.arange(-100_000, 100_000, dtype=torch.float64) + 0.5) * step
    return z, torch.exp(-(z**2) / 2) * step / math.sqrt(2 * math.pi)


def kinked_means(activation: nn.Module) -> tuple[float, float]:
    """E f^2 and E f'^2."""
    z, weight = fine()
    z.requires_grad_()
    value = activation(z)
    (slope,) = torch.autograd.grad(value.sum(), z)
    return float((weight * value.detach() ** 2).sum()), float((weight * slope**2).sum())


@pytest.mark.parametrize("slope", [-0.5, 0.0, 0.2, 1.0, 3.0])
def test_leaky_slope_learns_at_unit_gain(slope: float) -> None:
    layer = TailoredPReLU(50).double()
    nn.init.constant_(layer.weight, slope)
    assert kinked_means(layer) == pytest.approx((1, 1), abs=1e-7)


@pytest.mark.parametrize("beta", [-3.0, -1e-3, 0.0, 0.05, 1.0, 4.0])
def test_swish_learns_at_unit_gain(beta: float) -> None:
    layer = TailoredSwish(50).double()
    nn.init.constant_(layer.beta, beta)
    assert kinked_means(layer) == pytest.approx((1, 1), abs=1e-6)


def test_swish_starts_where_its_curvature_is_a_share_of_tau() -> None:
    assert maps(TailoredSwish(100).double())["C''"] == pytest.approx(0.3 / 100, rel=1e-3)


@pytest.mark.parametrize("name", ["tanh", "silu", "gelu", "sigmoid"])
def test_rational_starts_as_told_and_at_unit_gain(name: str) -> None:
    wanted, x = SMOOTH[name](), torch.linspace(-4, 4, 801, dtype=torch.float64)
    plain = Rational(wanted, tailored=False).double()
    assert bool((plain(x) - wanted(x)).abs().max() < 0.05)
    layer = Rational(wanted).double()
    assert kinked_means(layer) == pytest.approx((1, 1), abs=1e-6)
    with torch.no_grad():
        layer.numerator.add_(torch.randn(6, generator=torch.Generator().manual_seed(0)) * 0.3)
    assert kinked_means(layer) == pytest.approx((1, 1), abs=1e-5)


@pytest.mark.parametrize(
    "make",
    [Swish, lambda: Swish(num_parameters=3), lambda: TailoredSwish(50, num_parameters=3),
     lambda: TailoredSwish(50), lambda: TailoredPReLU(50, num_parameters=3),
     lambda: TailoredActivation(nn.Tanh(), 50), lambda: ShapedActivation(nn.GELU(), 50),
     lambda: TailoredLeakyReLU(50), lambda: Rational(nn.SiLU()), lambda: GatedResidual(nn.Tanh()),
     lambda: GatedResidual(nn.Linear(3, 3), "highway", channels=3)],
)  # fmt: skip
def test_first_and_second_derivatives_are_those_of_finite_differences(
    make: Callable[[], nn.Module],
) -> None:
    layer = make().double()
    x = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = torch.where(x.abs() < 0.05, torch.ones_like(x), x).requires_grad_()  # away from kinks
    names, values = (
        zip(*layer.named_parameters(), strict=True) if list(layer.parameters()) else ((), ())
    )

    def run(x: Tensor, *given: Tensor) -> Tensor:
        return torch.func.functional_call(layer, dict(zip(names, given, strict=True)), (x,))

    free = [value.detach().clone().requires_grad_() for value in values]
    assert torch.autograd.gradcheck(run, (x, *free))
    assert torch.autograd.gradgradcheck(run, (x, *free))


def digits() -> tuple[Tensor, Tensor]:
    data = load_digits()
    x = torch.tensor(data.data, dtype=torch.float32)
    x = (x - x.mean(0)) / (x.std(0) + 1e-6)
    return x / x.square().mean().sqrt(), torch.tensor(data.target)


def deep_net(make: Callable[[], nn.Module], depth: int, width: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for count in range(depth):
        layer = nn.Linear(64 if count == 0 else width, width)
        nn.init.orthogonal_(layer.weight)
        nn.init.zeros_(layer.bias)
        layers += [layer, make()]
    return nn.Sequential(*layers, nn.Linear(width, 10))


def learn(net: nn.Module, rate: float, steps: int) -> float:
    """Accuracy on the last quarter of the digits after training on the rest."""
    (x, y), draw = digits(), torch.Generator().manual_seed(0)
    order = torch.randperm(len(y), generator=draw)
    cut = 3 * len(y) // 4
    optimizer = torch.optim.Adam(net.parameters(), lr=rate)
    for step in range(steps):
        rows = order[torch.randint(cut, (64,), generator=draw)]
        optimizer.param_groups[0]["lr"] = rate * min(1, (step + 1) / 20) * (1 - step / steps)
        optimizer.zero_grad()
        F.cross_entropy(net(x[rows]), y[rows]).backward()
        optimizer.step()
        if any(isinstance(module, Homeostatic) for module in net.modules()):
            regulate_(net)
    with torch.no_grad():
        return float((net(x[order[cut:]]).argmax(1) == y[order[cut:]]).float().mean())


@pytest.mark.parametrize("name", ["tanh", "sigmoid"])
def test_a_hundred_layers_learn_with_the_shaped_activation_and_not_without(name: str) -> None:
    torch.manual_seed(0)
    shaped = ShapedActivation(SMOOTH[name](), 100)
    assert learn(deep_net(lambda: shaped, 100, 64), 5e-4, 120) > 0.85
    if name == "sigmoid":
        assert learn(deep_net(SMOOTH[name], 100, 64), 5e-4, 60) < 0.3


def test_homeostatic_layers_learn_at_a_rate_that_undoes_the_others() -> None:
    torch.manual_seed(0)
    plain = deep_net(lambda: TailoredLeakyReLU(30), 30, 32)
    torch.manual_seed(0)
    held = deep_net(lambda: TailoredLeakyReLU(30), 30, 32)
    held = nn.Sequential(*[Homeostatic(held[2 * k], held[2 * k + 1]) for k in range(30)], held[-1])
    with_it, without = learn(held, 2e-2, 150), learn(plain, 2e-2, 150)
    assert with_it > 0.75
    assert with_it > without + 0.2


def test_regulated_gain_over_time_is_one_at_any_length() -> None:
    """All singular values of dh_T / dh_0 are one, after training has moved the weights."""
    torch.manual_seed(0)
    net = RegulatedRNN(3, 8, horizon=50, start="rotation").double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter))
    for steps in (50, 500):
        x = torch.randn(steps, 1, 3, dtype=torch.float64)
        jacobian = torch.autograd.functional.jacobian(
            lambda h, x=x: net(x, h[None, None])[1].flatten(), torch.randn(8, dtype=torch.float64)
        )
        values = torch.linalg.svdvals(jacobian)
        assert values.tolist() == pytest.approx([1.0] * 8, abs=1e-5)


@pytest.mark.parametrize("steps", [50, 200, 500])
def test_gradient_of_the_first_input_beside_that_of_the_last(steps: int) -> None:
    def ratio(net: nn.Module) -> float:
        x = torch.randn(steps, 8, 2, requires_grad=True)
        net(x)[0][-1].square().sum().backward()
        assert x.grad is not None
        size = x.grad.flatten(1).norm(dim=1)
        return float(size[0] / size[-1])

    torch.manual_seed(0)
    assert 0.3 < ratio(RegulatedRNN(2, 64, horizon=steps)) < 3
    assert ratio(ChronoLSTM(2, 64, horizon=steps)) > 1e-3
    assert ratio(nn.LSTM(2, 64)) < 1e-9 > ratio(nn.RNN(2, 64))


def test_the_sentences_of_bad_input() -> None:
    for depth in (0, -1, 2.5, True, "10"):
        with pytest.raises(BadInput, match="depth must be a positive whole number"):
            TailoredLeakyReLU(depth)  # pyright: ignore[reportArgumentType]
    for wrong, why in (
        (lambda x: (x * x).exp(), "no finite second moment"),
        (lambda x: 0 * x + 3, "constant"),
        (lambda x: x[..., :2], "shape"),
        (nn.ReLU(), "slope of the activation jumps"),
        (nn.Softmax(-1), "each number by itself"),
        (nn.Dropout(), "each number by itself"),
        (nn.Tanh, "call it first"),
        (nn.Identity(), "no scale and shift"),
    ):
        with pytest.raises(BadInput, match=why):
            ShapedActivation(wrong, 10)  # pyright: ignore[reportArgumentType]
    with pytest.raises(BadInput, match="pass a projection"):
        GatedResidual(nn.Linear(3, 5))(torch.randn(2, 3))
    with pytest.raises(BadInput, match="gate for each channel"):
        GatedResidual(nn.Linear(3, 3), "layerscale")
    with pytest.raises(BadInput, match="its weight is what is held"):
        Homeostatic(nn.ReLU(), nn.ReLU())
    with pytest.raises(BadInput, match="nothing to hold"):
        regulate_(nn.Linear(3, 3))
    with pytest.raises(BadInput, match="a block to watch over, or a constant"):
        GradientValve()
    with pytest.raises(BadInput, match="horizon must be"):
        ChronoLSTM(2, 4, horizon=1)
    with pytest.raises(BadInput, match="axis 1 of the input"):
        TailoredPReLU(10, num_parameters=3)(torch.randn(2, 4))


def test_a_valve_is_no_weight_that_the_model_forgot() -> None:
    torch.manual_seed(0)
    block = unvanish.nn.GradientValve(nn.Sequential(nn.Linear(8, 8), nn.ReLU()))
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), block, nn.Linear(8, 2))
    batch = torch.randn(32, 8), torch.arange(32) % 2
    assert unvanish.diagnose(model, batch, nn.CrossEntropyLoss()).healthy
