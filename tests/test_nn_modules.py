"""The parts of unvanish.nn as citizens of torch: saved, copied, compiled, exported, batched, cast."""

import copy
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

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
    ValveReport,
    regulate_,
)

WIDTH = 6
PARTS: dict[str, Callable[[], nn.Module]] = {
    "leaky": lambda: TailoredLeakyReLU(30),
    "prelu": lambda: TailoredPReLU(30, num_parameters=WIDTH),
    "shaped": lambda: ShapedActivation(nn.Tanh(), 30),
    "tailored": lambda: TailoredActivation(nn.SiLU(inplace=True), 30),
    "swish": Swish,
    "tailored swish": lambda: TailoredSwish(30),
    "rational": lambda: Rational(nn.SiLU()),
    "rezero": lambda: GatedResidual(nn.Linear(WIDTH, WIDTH), gate_start=0.5),
    "highway": lambda: GatedResidual(nn.Linear(WIDTH, WIDTH), "highway", channels=WIDTH),
    "layerscale": lambda: GatedResidual(nn.Linear(WIDTH, WIDTH), "layerscale", channels=WIDTH),
    "convex": lambda: GatedResidual(nn.Linear(WIDTH, WIDTH), "convex"),
    "homeostatic": lambda: Homeostatic(nn.Linear(WIDTH, WIDTH), nn.ReLU()),
    "valve": lambda: GradientValve(nn.Linear(WIDTH, WIDTH), bounds=(0.9, 1.1)),
    "valve, sample": lambda: GradientValve(nn.Linear(WIDTH, WIDTH), bounds=(1, 1), per="sample"),
    "valve, factor": lambda: GradientValve(factor=0.5),
    "regulated": lambda: Last(RegulatedRNN(WIDTH, 4, horizon=4)),
}


class Last(nn.Module):
    """The outputs of a recurrent net alone."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)[0]


@pytest.fixture(params=PARTS)
def part(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return PARTS[request.param]()


def batch(dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(5, WIDTH, generator=torch.Generator().manual_seed(1)).to(dtype)


def gradient(module: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    (found,) = torch.autograd.grad(module(x).square().sum(), x)
    return found


def test_copied_and_pickled_parts_are_the_same(part: nn.Module) -> None:
    for twin in (copy.deepcopy(part), pickle.loads(pickle.dumps(part))):
        assert torch.equal(twin(batch()), part(batch()))
        assert torch.equal(gradient(twin, batch()), gradient(part, batch()))


@pytest.mark.parametrize("name", ["tailored swish", "rational", "regulated"])
def test_state_makes_the_same_part_in_another_process(name: str, tmp_path: Path) -> None:
    torch.manual_seed(3)
    part = PARTS[name]()
    with torch.no_grad():
        for parameter in part.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    torch.save(
        {"state": part.state_dict(), "x": batch(), "y": part(batch()).detach()}, tmp_path / "s"
    )
    code = (
        f"import sys, torch; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_nn_modules import PARTS\n"
        f"kept = torch.load({str(tmp_path / 's')!r}, weights_only=True)\n"
        f"part = PARTS[{name!r}]()\n"
        "part.load_state_dict(kept['state'])\n"
        "print(torch.equal(part(kept['x']), kept['y']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "True", done.stderr


def test_a_state_of_prelu_loads_into_the_tailored_one() -> None:
    layer = TailoredPReLU(30, num_parameters=WIDTH)
    layer.load_state_dict(nn.PReLU(WIDTH).state_dict())
    assert layer.weight.tolist() == [0.25] * WIDTH


# What torch's own compiler does while it works is not ours to mend.
quietly = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning:torch")


@quietly
@pytest.mark.skipif(
    shutil.which("g++") is None and shutil.which("c++") is None, reason="no C++ compiler"
)
@pytest.mark.parametrize(
    "name", ["prelu", "tailored", "tailored swish", "rational", "rezero", "valve"]
)
def test_compiled_whole_with_the_same_gradient(name: str) -> None:
    torch.manual_seed(0)
    part = PARTS[name]()
    torch.compiler.reset()
    compiled = torch.compile(part, fullgraph=True)
    torch.testing.assert_close(compiled(batch()), part(batch()))
    torch.testing.assert_close(gradient(compiled, batch()), gradient(part, batch()))


@quietly
def test_no_graph_breaks(part: nn.Module) -> None:
    """Traced whole, forward and backward, without the compiler behind it."""
    torch.compiler.reset()
    traced = torch.compile(part, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(gradient(traced, batch()), gradient(part, batch()))


def test_exported(part: nn.Module) -> None:
    program = torch.export.export(part, (batch(),))
    torch.testing.assert_close(program.module()(batch()), part(batch()))


def test_functional_call_and_vmap_over_parts_and_samples(part: nn.Module) -> None:
    twins = [copy.deepcopy(part) for _ in range(3)]
    with torch.no_grad():
        for twin in twins:
            for parameter in twin.parameters():
                parameter.add_(0.1 * torch.rand_like(parameter))
    parameters, buffers = torch.func.stack_module_state(twins)

    def loss(p: dict[str, Tensor], b: dict[str, Tensor], x: Tensor) -> Tensor:
        return torch.func.functional_call(part, (p, b), (x,)).square().sum()

    x = torch.stack([batch() + k for k in range(3)])
    made = torch.func.vmap(torch.func.grad(loss, argnums=2))(parameters, buffers, x)
    for twin, row, one in zip(twins, made, x, strict=True):
        torch.testing.assert_close(row, gradient(twin, one))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_under_autocast(part: nn.Module, dtype: torch.dtype) -> None:
    reference = part(batch())
    with torch.autocast("cpu", dtype=dtype):
        made = part(nn.Identity()(batch().to(dtype)))
    torch.testing.assert_close(made.float(), reference, atol=0.1, rtol=0.05)
    gradient(part, batch())


@pytest.mark.parametrize("name", ["shaped", "tailored", "tailored swish", "rational", "prelu"])
def test_half_precision_costs_only_its_last_digits(name: str) -> None:
    """The offset of a tailored activation cancels most of its value: not in eight bits."""
    part = PARTS[name]()
    x = torch.randn(1000, WIDTH, generator=torch.Generator().manual_seed(0)).bfloat16()
    reference = part(x.float())
    assert bool((part(x).float() - reference).abs().max() < 0.01 * reference.abs().max())
    cast = copy.deepcopy(part).bfloat16()
    assert bool((cast(x).float() - reference).abs().max() < 0.02 * reference.abs().max())


@pytest.mark.parametrize("kind", ["rezero", "skipinit"])
def test_identity_at_insertion_bit_for_bit(kind: str) -> None:
    torch.manual_seed(0)
    branch = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU())
    block = GatedResidual(branch, kind)  # pyright: ignore[reportArgumentType]
    x = 1e3 * torch.randn(2, 3, 8, 8)
    assert torch.equal(block(x), x)
    assert torch.equal(gradient(block, x), 2 * x)


def test_gates_start_where_their_papers_say() -> None:
    inner = nn.Linear(4, 4)
    layer = [GatedResidual(inner, "layerscale", channels=4, depth=d).gain() for d in (12, 20, 36)]
    assert [float(gain) for gain in layer] == pytest.approx([0.1, 1e-5, 1e-6])
    assert float(GatedResidual(inner, "skipinit", depth=25).gain()) == pytest.approx(0.2)
    assert float(GatedResidual(inner, "convex", gate_start=0.3).gain()) == pytest.approx(0.3)
    x = torch.randn(2, 4)
    block = GatedResidual(inner, "highway", channels=4)
    share = torch.sigmoid(torch.tensor(-2.0))
    torch.testing.assert_close(block(x), share * inner(x) + (1 - share) * x)


def test_projection_where_shapes_differ_and_channels_of_images() -> None:
    down = nn.Conv2d(3, 5, 3, stride=2, padding=1)
    block = GatedResidual(
        down, "highway", channels=5, channel_axis=1, projection=nn.Conv2d(3, 5, 1, stride=2)
    )
    assert block(torch.randn(2, 3, 8, 8)).shape == (2, 5, 4, 4)


@pytest.mark.parametrize("gain", [0.25, 1.0, 4.0])
@pytest.mark.parametrize("per", ["sample", "batch"])
def test_valve_scales_by_what_it_reports(gain: float, per: str) -> None:
    inner = nn.Linear(4, 4, bias=False)
    with torch.no_grad():
        inner.weight.copy_(gain * torch.eye(4))
    valve = GradientValve(inner, bounds=(0.5, 2.0), per=per)  # pyright: ignore[reportArgumentType]
    x = torch.randn(3, 4, requires_grad=True)
    pull = 1e-6 * torch.randn(3, 4)  # the scale of the loss does not matter
    valve(x).backward(pull)
    assert x.grad is not None
    held = min(max(gain, 0.5), 2.0)
    torch.testing.assert_close(x.grad, held * pull)
    report, rows = valve.report(), 3 if per == "sample" else 1
    assert (report.passes, report.changed) == (rows, rows * (held != gain))
    assert 10**report.decades == pytest.approx(held / gain, rel=1e-5)
    assert valve.report() == ValveReport(0, 0, 0.0)


def test_valve_leaves_the_gradients_of_its_block_alone_and_zero_at_zero() -> None:
    inner = nn.Linear(4, 4)
    valve, x = GradientValve(inner, bounds=(1, 1)), torch.randn(3, 4, requires_grad=True)
    valve(x).square().sum().backward()
    seen = [parameter.grad for parameter in inner.parameters()]
    wanted = torch.autograd.grad(inner(x).square().sum(), list(inner.parameters()))
    for one, other in zip(seen, wanted, strict=True):
        torch.testing.assert_close(one, other)
    x.grad = None
    (0 * valve(x)).sum().backward()
    assert x.grad is not None
    assert not x.grad.any()
    assert "meter" not in valve.state_dict()


@pytest.mark.parametrize("shape", [(6, 6), (9, 4), (4, 9)])
@pytest.mark.parametrize("spoil", ["noise", "rank one", "scale"])
def test_regulation_comes_back_to_isometry(shape: tuple[int, int], spoil: str) -> None:
    torch.manual_seed(0)
    block = Homeostatic(nn.Linear(shape[1], shape[0]), nn.ReLU())
    weight = block.layer.weight
    assert isinstance(weight, nn.Parameter)
    wanted = max(1.0, shape[0] / shape[1]) ** 0.5
    with torch.no_grad():
        if spoil == "rank one":
            weight.add_(100 * torch.ones(shape))
        else:
            weight.mul_(7) if spoil == "scale" else weight.add_(0.05 * torch.randn(shape))
    for _ in range(6):
        found = regulate_(block)
    assert torch.linalg.svdvals(weight.detach()).tolist() == pytest.approx(
        [wanted] * min(shape), rel=1e-4
    )
    assert found.after < 1e-4


def test_regulation_leaves_what_is_frozen_or_within_its_band() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        Homeostatic(nn.Linear(4, 4), nn.ReLU()),
        Homeostatic(nn.Conv2d(4, 4, 3), nn.ReLU(), band=10.0),
        Homeostatic(nn.Linear(4, 4), nn.ReLU()),
    )
    weights = [block.layer.weight for block in net]
    with torch.no_grad():
        for weight in weights:
            weight.mul_(1.2)
    weights[0].requires_grad_(False)
    kept = [weight.detach().clone() for weight in weights]
    found = regulate_(net)
    assert (found.layers, found.moved) == (2, 1)
    moved = [not torch.equal(weight, old) for weight, old in zip(weights, kept, strict=True)]
    assert moved == [False, False, True]


def test_recurrent_nets_have_the_interface_of_torchs() -> None:
    torch.manual_seed(0)
    for batch_first in (False, True):
        ours = RegulatedRNN(3, 8, horizon=20, num_layers=2, batch_first=batch_first)
        torchs = nn.RNN(3, 8, num_layers=2, batch_first=batch_first)
        for shape, state in (((5, 4, 3), (2, 5 if batch_first else 4, 8)), ((5, 3), (2, 8))):
            x, h = torch.randn(shape), torch.randn(state)
            for given in ((x,), (x, h)):
                assert [t.shape for t in ours(*given)] == [t.shape for t in torchs(*given)]
    x = torch.randn(6, 2, 3)
    net, last = RegulatedRNN(3, 8, horizon=20), None
    whole, end = net(x)
    for row, step in zip(whole, x, strict=True):
        made, last = net(step[None], last)
        torch.testing.assert_close(made[0], row)
    torch.testing.assert_close(last, end)


def test_chrono_is_an_lstm_with_other_biases() -> None:
    torch.manual_seed(0)
    net = ChronoLSTM(3, 64, horizon=100, num_layers=2, batch_first=True)
    twin = nn.LSTM(3, 64, num_layers=2, batch_first=True)
    twin.load_state_dict(net.state_dict())
    x = torch.randn(2, 5, 3)
    assert torch.equal(net(x)[0], twin(x)[0])
    forget = net.bias_ih_l1[64:128] + net.bias_hh_l1[64:128]
    assert torch.equal(net.bias_ih_l1[:64], -net.bias_ih_l1[64:128])
    lifetime = 1 + forget.exp()  # of a cell whose gate is sigmoid(forget): 2 to 100 steps
    assert bool((lifetime.min() >= 2) & (lifetime.max() <= 100.01) & (lifetime.std() > 20))
