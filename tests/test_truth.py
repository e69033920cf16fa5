"""Every number of the ledger agrees with autograd on the tensors themselves."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import arriving_norms, dominators, jacobian_norms
from torch import Tensor, nn
from torch.nn import functional as F
from zoo import FLAT, mlp, seeded

from unvanish import observe
from unvanish.signals import l2, measure, norms_along
from unvanish.trace import Trace

torch_seed = torch.manual_seed
EXACT = 1e-6  # float64: rounding of a few dozen operations, far below this
SINGLE = 1e-4  # float32: 2^-24 an operation, sums of up to a thousand terms, kernels of any order


class Chain(nn.Module):
    """Stages one after the other, each a module of its own; the last gives the loss."""

    def __init__(self, *stages: nn.Module) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> Tensor:
        for stage in self.stages:
            x = stage(x)
        return x


class Do(nn.Module):
    """A function as a module without weights."""

    def __init__(self, function: Any, *arguments: Any, **named: Any) -> None:
        super().__init__()
        self.function, self.arguments, self.named = function, arguments, named
        self.held = nn.ModuleList(part for part in arguments if isinstance(part, nn.Module))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, *self.arguments, **self.named)


class Entry(nn.Module):
    """A sine times a weight, so that every chain has something to train."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.5))

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(x) * self.scale


class Attention(nn.Module):
    def __init__(self, fused: bool) -> None:
        super().__init__()
        self.inside, self.fused = nn.Linear(6, 18), fused

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.inside(x).chunk(3, dim=-1)
        if self.fused:
            return F.scaled_dot_product_attention(query, key, value)
        scores = torch.bmm(query, key.transpose(1, 2)) / 6**0.5
        return torch.bmm(scores.softmax(-1), value)


def parts(x: Tensor) -> Tensor:
    left, right = x.split(x.shape[-1] // 2, dim=-1)
    stacked = torch.stack([left * right, left.sin()])
    return torch.cat([stacked.sum(0), right.exp() * left], dim=-1)


def squares(x: Tensor) -> Tensor:
    return (x * x.roll(1, -1) + x.pow(2) - 0.3 * x).cumsum(-1) / 3


VECTOR, IMAGE, SERIES, VOLUME = (5, 6), (2, 4, 6, 6), (2, 4, 9), (2, 2, 4, 4, 4)
ACTIVATIONS = (
    "relu sigmoid tanh gelu silu leaky_relu elu selu celu mish softplus softsign hardtanh hardswish "
    "hardsigmoid relu6 logsigmoid tanhshrink softshrink hardshrink glu"
).split()

STAGES: dict[str, tuple[Any, tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(6, 4), VECTOR),
    "linear without bias": (lambda: nn.Linear(6, 4, bias=False), VECTOR),
    "linear on three dimensions": (lambda: nn.Linear(9, 4), SERIES),
    "conv1d": (lambda: nn.Conv1d(4, 3, 3), SERIES),
    "conv2d": (lambda: nn.Conv2d(4, 3, 3, stride=2, padding=1), IMAGE),
    "conv3d": (lambda: nn.Conv3d(2, 3, 2), VOLUME),
    "grouped conv": (lambda: nn.Conv2d(4, 4, 3, groups=4), IMAGE),
    "transposed conv": (lambda: nn.ConvTranspose2d(4, 3, 3, stride=2), IMAGE),
    "batch norm": (lambda: nn.BatchNorm2d(4), IMAGE),
    "batch norm of vectors": (lambda: nn.BatchNorm1d(6), VECTOR),
    "evaluated batch norm": (lambda: nn.BatchNorm2d(4).eval(), IMAGE),
    "layer norm": (lambda: nn.LayerNorm(6), VECTOR),
    "group norm": (lambda: nn.GroupNorm(2, 4), IMAGE),
    "instance norm": (lambda: nn.InstanceNorm2d(4), IMAGE),
    "rms norm": (lambda: nn.RMSNorm(6), VECTOR),
    "prelu": (lambda: nn.PReLU(), VECTOR),
    "softmax": (lambda: Do(torch.softmax, -1), VECTOR),
    "log_softmax": (lambda: Do(torch.log_softmax, -1), VECTOR),
    "max pool": (lambda: nn.MaxPool2d(2), IMAGE),
    "average pool": (lambda: nn.AvgPool2d(2), IMAGE),
    "adaptive pool": (lambda: nn.AdaptiveAvgPool2d(1), IMAGE),
    "upsample": (lambda: nn.Upsample(scale_factor=2, mode="bilinear"), IMAGE),
    "written attention": (lambda: Attention(fused=False), (2, 5, 6)),
    "fused attention": (lambda: Attention(fused=True), (2, 5, 6)),
    "multi-head attention": (
        lambda: Do(lambda x, net: net(x, x, x)[0], nn.MultiheadAttention(6, 2, batch_first=True)),
        (2, 5, 6),
    ),
    "cat, split, stack": (lambda: Do(parts), VECTOR),
    "sums and products": (lambda: Do(squares), VECTOR),
    "views": (lambda: Do(lambda x: x.t().reshape(3, -1)[:, 1:].unsqueeze(0).flip(-1)), VECTOR),
    "einsum": (lambda: Do(lambda x: torch.einsum("ni,nj->nij", x, x.tanh())), VECTOR),
    "lstm": (lambda: Do(lambda x, net: net(x)[0], nn.LSTM(9, 4)), SERIES),
    **{name: (lambda name=name: Do(getattr(F, name)), VECTOR) for name in ACTIVATIONS},
}
LOSSES: dict[str, Any] = {
    "square": lambda x: x.square().mean(),
    "cross entropy": lambda x: F.cross_entropy(x.flatten(1), torch.arange(len(x)) % 2),
    "binary": lambda x: F.binary_cross_entropy_with_logits(x, torch.full_like(x, 0.3)),
    "huber": lambda x: F.smooth_l1_loss(x, torch.zeros_like(x)),
    "l1": lambda x: F.l1_loss(x, torch.full_like(x, 0.1)),
    "kl": lambda x: F.kl_div(x.log_softmax(-1), torch.full_like(x, 0.25), reduction="batchmean"),
}


def observed_at(trace: Trace, stages: int) -> list[float | None]:
    """Norms that the trace gives at the outputs of all stages but the last, from the input on."""
    norms: list[float | None] = [trace.trunk[-1].norm]
    for place in range(stages - 1):
        path = f"stages.{place}"
        points = [
            p
            for p in trace.trunk
            if trace.ops[p.op].module == path or trace.ops[p.op].module.startswith(f"{path}.")
        ]
        norms.append(points[0].norm if points else None)
    return norms


def assert_agrees(stages: list[nn.Module], source: Tensor, tolerance: float) -> Trace:
    model = Chain(*stages)
    torch_seed(7)
    truth = arriving_norms(stages, source)
    trace = observe(model, (source, None), lambda out, _: out, seed=7)
    seen = observed_at(trace, len(stages))
    assert seen[0] == pytest.approx(truth[0], rel=tolerance)
    compared = [
        (mine, other) for mine, other in zip(seen[1:], truth[1:], strict=False) if mine is not None
    ]
    assert compared
    for mine, other in compared:
        assert mine == pytest.approx(other, rel=tolerance)
    return trace


@pytest.mark.parametrize("name", STAGES)
def test_arriving_norms_in_float64(name: str) -> None:
    make, shape = STAGES[name]
    torch_seed(1)
    stages = [Entry().double(), make().double(), Do(torch.tanh), Do(lambda x: x.square().mean())]
    assert_agrees(stages, torch.randn(shape, dtype=torch.float64), EXACT)


@pytest.mark.parametrize("name", STAGES)
def test_arriving_norms_in_float32(name: str) -> None:
    """float32 against a float64 run of the same values."""
    make, shape = STAGES[name]
    torch_seed(1)
    stages = [Entry(), make(), Do(torch.tanh), Do(lambda x: x.square().mean())]
    source = torch.randn(shape)
    trace = observe(Chain(*stages), (source, None), lambda out, _: out)
    exact = [stage.double() for stage in stages]
    truth = arriving_norms(exact, source.double())
    assert trace.trunk[-1].norm == pytest.approx(truth[0], rel=SINGLE)


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name: str) -> None:
    torch_seed(1)
    stages = [nn.Linear(6, 4).double(), Do(torch.tanh), Do(LOSSES[name])]
    assert_agrees(stages, torch.randn(VECTOR, dtype=torch.float64), EXACT)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
def test_agrees_with_forward_mode_too() -> None:
    torch_seed(1)
    stages = [nn.Linear(6, 5).double(), Do(torch.tanh), nn.Linear(5, 4).double(), Do(torch.sum)]
    source = torch.randn(VECTOR, dtype=torch.float64)
    trace = assert_agrees(stages, source, EXACT)
    assert observed_at(trace, 4) == pytest.approx(jacobian_norms(stages, source)[:4], rel=EXACT)


def test_dropout_under_the_same_seed() -> None:
    stages = [nn.Linear(6, 6).double(), nn.Dropout(0.4), Do(lambda x: x.square().sum())]
    trace = assert_agrees(stages, torch.randn(VECTOR, dtype=torch.float64), EXACT)
    assert "dropout" in {point.role for point in trace.trunk}


def test_edges_of_a_product_with_a_weight() -> None:
    """Each edge by itself: towards the input, the weight and the bias."""
    torch_seed(1)
    layer = nn.Linear(6, 4).double()
    source = torch.randn(VECTOR, dtype=torch.float64)
    trace = observe(layer, (source, None), lambda out, _: out.pow(3).sum())
    (product,) = trace.of_kind("Addmm")
    wanted = source.clone().requires_grad_()
    truth = torch.autograd.grad(layer(wanted).pow(3).sum(), [wanted, layer.weight, layer.bias])
    norms = sorted(float(g.norm()) for g in truth)
    assert sorted(e.norm or 0 for e in product.edges) == pytest.approx(norms, rel=EXACT)
    assert product.left == pytest.approx(float(truth[0].norm()), rel=EXACT)


def test_edges_that_meet_are_measured_apart() -> None:
    torch_seed(1)
    source = torch.randn(VECTOR, dtype=torch.float64)
    layer = nn.Linear(6, 6).double()

    def three_ways(x: Tensor) -> Tensor:
        x = layer(x)
        return (x.sin() + x * x).sum()

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: Tensor) -> Tensor:
            return three_ways(x)

    trace = observe(Model(), (source, None), lambda out, _: out)
    value = layer(source).detach()
    (product,) = trace.of_kind("Addmm")
    (sine,) = trace.of_kind("Sin")
    (square,) = trace.of_kind("Mul")
    assert [e.norm for e in sine.edges] == pytest.approx([float(value.cos().norm())], rel=EXACT)
    assert [e.norm for e in square.edges] == pytest.approx([float(value.norm())] * 2, rel=EXACT)
    assert product.norm == pytest.approx(float((value.cos() + 2 * value).norm()), rel=EXACT)


def test_gains_multiply_to_the_total() -> None:
    trace = observe(
        seeded(mlp, *[nn.Sigmoid() for _ in range(9)]).double(), double(), F.cross_entropy
    )
    product = math.prod(trace.ops[p.op].gain or math.nan for p in trace.trunk[:-1])
    first, last = trace.trunk[0].norm, trace.trunk[-1].norm
    assert product == pytest.approx((last or 0) / (first or 1), rel=1e-9)
    within = math.fsum(layer.total for layer in trace.layers)
    ends = trace.layers[0].norm, trace.ops[trace.trunk[-2].op].norm
    assert within == pytest.approx(math.log10((ends[1] or 0) / (ends[0] or 1)), abs=1e-9)


def double() -> tuple[Tensor, Tensor]:
    return FLAT[0].double(), FLAT[1]


def test_sigmoid_factor_is_the_weighted_slope() -> None:
    """|g sigma'| / |g|: the rms of sigma' over the entries, weighted by the energy that arrives."""
    model = seeded(mlp, nn.Sigmoid(), nn.Sigmoid()).double()
    trace = observe(model, double(), F.cross_entropy)
    before = [model[0](double()[0])]
    before.append(model[2](torch.sigmoid(before[0])))
    for place, op in zip((1, 0), trace.of_kind("Sigmoid"), strict=True):
        sigma = torch.sigmoid(before[place].detach()).requires_grad_()
        rest = list(model)[2 * place + 2 :]
        value = sigma
        for module in rest:
            value = module(value)
        (arrived,) = torch.autograd.grad(F.cross_entropy(value, FLAT[1]), sigma)
        slope = (sigma * (1 - sigma)).detach()
        weights = arrived.square() / arrived.square().sum()
        assert op.gain == pytest.approx(float((weights * slope.square()).sum().sqrt()), rel=1e-9)
    first = trace.activations[0]
    sigma = torch.sigmoid(before[0])
    plain = float((sigma * (1 - sigma)).detach().square().mean().sqrt())
    assert first.derivative_rms == pytest.approx(plain, rel=1e-9)


# Far from one ----------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1e-36, 1e-30, 1e-20, 1.0, 1e18, 1e25, 1e33])
def test_norms_of_float32_far_from_one(scale: float) -> None:
    torch_seed(1)
    base = torch.randn(50, 20)
    truth = float((base * scale).double().norm())
    assert l2(base * scale) == pytest.approx(truth, rel=1e-6)
    assert measure(base * scale).norm == pytest.approx(truth, rel=1e-6)
    slices = (base * scale).double().norm(dim=0).tolist()
    assert norms_along(base * scale, 1) == pytest.approx(slices, rel=1e-6)


@pytest.mark.parametrize("scale", [1e-30, 1e-24, 1e12, 1e25])
def test_gradients_far_from_one_keep_their_gains(scale: float) -> None:
    model = seeded(mlp, nn.Sigmoid(), nn.Sigmoid())
    plain = observe(model, FLAT, F.cross_entropy)
    trace = observe(model, FLAT, lambda out, target: F.cross_entropy(out, target) * scale)
    for mine, other in zip(trace.layers, plain.layers, strict=True):
        assert mine.decades == pytest.approx(other.decades, abs=1e-5)
        assert mine.norm == pytest.approx((other.norm or 0) * scale, rel=1e-5)
    for mine, other in zip(trace.parameters, plain.parameters, strict=True):
        assert mine.gradient_norm == pytest.approx((other.gradient_norm or 0) * scale, rel=1e-5)
        assert mine.state == other.state


def test_counts_of_zeros_and_of_what_is_not_finite() -> None:
    tensor = torch.tensor([0.0, -0.0, 3.0, 4.0, float("nan"), float("inf"), float("-inf")])
    figure = measure(tensor)
    assert (figure.norm, figure.zeros, figure.nonfinite, figure.elements) == (5.0, 2, 3, 7)


# The same program said differently -------------------------------------------------------------


def account(trace: Trace) -> list[tuple[str, float]]:
    """Role and decades of every point that has both, without the loss."""
    return [(p.role, p.decades) for p in trace.trunk[1:] if p.decades is not None]


def assert_same_account(mine: Trace, other: Trace, tolerance: float = 1e-5) -> None:
    assert [role for role, _ in account(mine)] == [role for role, _ in account(other)]
    assert [d for _, d in account(mine)] == pytest.approx(
        [d for _, d in account(other)], abs=tolerance
    )
    for left, right in zip(mine.layers, other.layers, strict=True):
        assert left.decades == pytest.approx(right.decades, abs=tolerance)


@given(exponent=st.floats(-6, 6))
@settings(max_examples=15, deadline=None)
def test_scale_of_the_loss_changes_no_gain(exponent: float) -> None:
    model = seeded(mlp, nn.Tanh(), nn.ReLU())
    scaled = observe(model, FLAT, lambda o, t: F.cross_entropy(o, t) * 10**exponent)
    # One more op, the product with the scale: compare from the loss function on.
    plain = observe(model, FLAT, lambda o, t: F.cross_entropy(o, t) * 1.0)
    assert_same_account(scaled, plain)


def test_other_tellings_of_one_program() -> None:
    plain = observe(seeded(mlp, nn.Tanh(), nn.ReLU()), FLAT, F.cross_entropy)

    class Wrapper(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.renamed = inner

        def forward(self, x: Tensor) -> Tensor:
            return self.renamed(x)

    twice = tuple(torch.cat([part, part]) for part in FLAT)
    model = seeded(mlp, nn.Tanh(), nn.ReLU())
    assert_same_account(observe(model, twice, F.cross_entropy), plain)
    assert_same_account(observe(Wrapper(model), FLAT, F.cross_entropy), plain)
    assert_same_account(
        observe(seeded(mlp, nn.Tanh(), nn.ReLU(True)), FLAT, F.cross_entropy), plain
    )
    assert_same_account(observe(model.double(), double(), F.cross_entropy), plain)


# The trunk of any graph -------------------------------------------------------------------------


class Net(nn.Module):
    """A random acyclic program: each step reads one or two earlier values."""

    def __init__(self, plan: list[tuple[str, int, int]]) -> None:
        super().__init__()
        self.plan = plan
        self.linears = nn.ModuleList(nn.Linear(3, 3) for _ in plan)

    def forward(self, x: Tensor) -> Tensor:
        values = [x]
        for place, (kind, left, right) in enumerate(self.plan):
            first, second = values[-1 - left % len(values)], values[-1 - right % len(values)]
            values.append(self.step(kind, place, first, second))
        return values[-1]

    def step(self, kind: str, place: int, first: Tensor, second: Tensor) -> Tensor:
        if kind == "linear":
            return self.linears[place](first)
        if kind == "tanh":
            return torch.tanh(first)
        if kind == "add":
            return first + second
        if kind == "product":
            return first * second
        if kind == "residual":
            return first + torch.tanh(self.linears[place](first))
        return torch.cat([first[:, :1], second[:, 1:]], 1)


STEPS = st.tuples(
    st.sampled_from(["linear", "tanh", "add", "product", "residual", "cat"]),
    st.integers(0, 4),
    st.integers(0, 4),
)


@given(plan=st.lists(STEPS, min_size=1, max_size=10))
@settings(max_examples=60, deadline=None)
def test_trunk_is_every_dominator(plan: list[tuple[str, int, int]]) -> None:
    torch_seed(0)
    model = Net([("linear", 0, 0), *plan, ("linear", 0, 0)])
    trace = observe(model, (FLAT[0][:, :3], None), lambda out, _: out.square().sum())
    points = [point.op for point in trace.trunk]
    assert points == dominators(trace.ops, points[0], points[-1])
    assert trace.ops[points[0]].index == 0
    assert trace.ops[points[-1]].role == "leaf"


@given(plan=st.lists(STEPS, min_size=1, max_size=10))
@settings(max_examples=30, deadline=None)
def test_every_edge_of_a_random_program_adds_up(plan: list[tuple[str, int, int]]) -> None:
    """What arrives at an op is the sum of what its consumers send: no norm can exceed theirs."""
    torch_seed(0)
    model = Net([("linear", 0, 0), *plan, ("linear", 0, 0)]).double()
    trace = observe(model, (FLAT[0][:, :3].double(), None), lambda out, _: out.square().sum())
    arriving: dict[tuple[int, int], list[float]] = {}
    for op in trace.ops:
        for edge in op.edges:
            if edge.target is not None and edge.norm is not None:
                arriving.setdefault((edge.target, edge.slot), []).append(edge.norm)
    for op in trace.ops[1:]:
        parts_ = [sum(n) for (target, _), n in arriving.items() if target == op.index]
        assert op.norm is not None
        assert op.norm <= math.hypot(*parts_) * (1 + 1e-9)
        if all(len(n) == 1 for (target, _), n in arriving.items() if target == op.index):
            assert op.norm == pytest.approx(math.hypot(*parts_), rel=1e-9)
    model.zero_grad()
    source = FLAT[0][:, :3].double().requires_grad_()
    model(source).square().sum().backward()
    assert source.grad is not None
    assert trace.trunk[-1].norm == pytest.approx(float(source.grad.norm()), rel=EXACT)
    for name, parameter in model.named_parameters():
        reading = trace.parameter(name).gradient_norm
        truth = None if parameter.grad is None else float(parameter.grad.norm())
        assert reading == (None if truth is None else pytest.approx(truth, rel=EXACT))


@pytest.mark.parametrize("depth", [1, 3])
def test_skip_shares_of_a_residual_chain(depth: int) -> None:
    model = Net([("residual", 0, 0)] * depth).double()
    trace = observe(model, (FLAT[0][:, :3].double(), None), lambda out, _: out.square().sum())
    shares = [p.skip_share for p in trace.trunk if p.role == "residual"]
    values = [FLAT[0][:, :3].double()]
    for linear in model.linears:
        values.append(values[-1] + torch.tanh(linear(values[-1])))
    gradient = 2 * values[-1].detach()
    for share, linear, value in zip(
        shares, reversed(model.linears), reversed(values[:-1]), strict=True
    ):
        start = value.detach().requires_grad_()
        (through,) = torch.autograd.grad(torch.tanh(linear(start)), start, gradient)
        energy = gradient.square().sum() / (gradient.square().sum() + through.square().sum())
        assert share == pytest.approx(float(energy), rel=1e-9)
        gradient = gradient + through
