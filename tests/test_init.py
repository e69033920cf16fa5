"""Initial values: closed-form truths, what stays untouched, the gate afterwards, and learning."""

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import zoo
from torch import Tensor, nn
from torch.nn import functional as F

import unvanish
from unvanish import init
from unvanish.errors import BadInput, ModelFailed
from unvanish.init.branches import deep_norm_factors
from unvanish.init.draws import orthogonal
from unvanish.init.fresh import looks_trained
from unvanish.init.shaping import TOTAL_SLOPE, mirrored, shaped
from unvanish.init.taps import isometric_taps
from unvanish.theory.activations import nonlinearity

LABELS = torch.arange(64) % 10


def chain(
    activation: Callable[[], nn.Module], depth: int, width: int = 32, inside: int = 32
) -> nn.Sequential:
    parts: list[nn.Module] = []
    for _ in range(depth):
        parts += [nn.Linear(inside, width), activation()]
        inside = width
    return nn.Sequential(*parts, nn.Linear(width, 10))


def batch(*shape: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*(shape or (64, 32)), generator=generator), LABELS[: (shape or (64,))[0]]


def start(model: nn.Module, data: Any = None, loss: Any = F.cross_entropy, **more: Any) -> Any:
    return init.critical_(model, batch() if data is None else data, loss, **more)


def jacobian(model: nn.Module, sample: Tensor) -> Tensor:
    return torch.autograd.functional.jacobian(model, sample)  # type: ignore[no-any-return]


# --- closed forms -------------------------------------------------------------------------------

BENT_AT_START = {
    "relu": (nn.ReLU, 0.0),
    "leaky relu": (lambda: nn.LeakyReLU(0.2), 0.2),
    "prelu": (nn.PReLU, 0.25),
}
LINEAR_AT_START = {
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "hardswish": nn.Hardswish,
    "logsigmoid": nn.LogSigmoid,
}


@pytest.mark.parametrize("name", sorted(set(LINEAR_AT_START) - {"hardswish"}))
def test_mirrored_net_is_exactly_linear_and_isometric(name: str) -> None:
    torch.manual_seed(0)
    net = chain(LINEAR_AT_START[name], 30).double()
    data = (batch()[0].double(), LABELS)
    start(net, data)
    hidden = net[:-2]
    there, back, nothing = (hidden(x) for x in (data[0], -data[0], 0 * data[0]))
    pairs = slice(0, None, 2), slice(1, None, 2)
    read = [out[:, pairs[0]] - out[:, pairs[1]] for out in (there, back, nothing)]
    assert torch.allclose(read[0], -read[1], rtol=1e-9, atol=1e-9)
    assert read[2].abs().max() < 1e-9
    values = torch.linalg.svdvals(jacobian(net, data[0][0]))
    assert float(values.max() / values.min()) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("name", sorted(BENT_AT_START))
def test_mirrored_rectifiers_are_an_orthogonal_net_of_leaky_relus(name: str) -> None:
    """As bent as depth and width can bear: the twin of half the width, written out by hand."""
    torch.manual_seed(0)
    depth, numbers = 30, 16
    activation, left = BENT_AT_START[name]
    net = chain(activation, depth).double()
    data = (batch()[0].double(), LABELS)
    start(net, data)
    bent = math.sqrt(0.1 * numbers / (3 * depth))
    slope = max(
        math.sqrt((1 - bent) / (1 + bent)), unvanish.nn.TailoredLeakyReLU(depth).negative_slope
    )
    mirror = (slope - left) / (1 - slope * left)
    signal = data[0]
    for level, linear in enumerate(part for part in net[:-1] if isinstance(part, nn.Linear)):
        weight = linear.weight.detach()
        core = weight[::2] if level == 0 else weight[::2, ::2]
        scales = torch.linalg.svdvals(core)
        assert float(scales.max() / scales.min()) == pytest.approx(1, abs=1e-9)
        before = signal @ core.T
        signal = (1 + mirror * left) * F.leaky_relu(before, slope)
    out = net[:-1](data[0])
    assert torch.allclose(out[:, ::2] - mirror * out[:, 1::2], signal, rtol=1e-6, atol=1e-9)


def test_even_activations_and_those_that_leak_enough_are_not_mirrored() -> None:
    assert mirrored(nonlinearity(torch.abs), 30, 16) is None
    assert mirrored(nonlinearity(nn.LeakyReLU(0.95)), 30, 16) is None


def test_a_narrow_first_layer_keeps_what_the_batch_varies_in() -> None:
    """Four directions of 32 hold the signal; a random half would lose half of it."""
    torch.manual_seed(0)
    directions = torch.linalg.qr(torch.randn(32, 4))[0]
    inputs = torch.randn(64, 4) @ directions.T + 1e-3 * torch.randn(64, 32)
    net = chain(nn.ReLU, 20, width=16)
    start(net, (inputs, LABELS))
    core = net[0].weight[::2].detach()
    kept = torch.linalg.svdvals(core @ directions) / torch.linalg.svdvals(core)[:4]
    assert kept.tolist() == pytest.approx([1] * 4, abs=1e-3)


def test_hardswish_is_linear_where_its_odd_part_is() -> None:
    torch.manual_seed(0)
    net = chain(nn.Hardswish, 30).double()
    data = (batch()[0].double().clamp(-1, 1), LABELS)
    start(net, data)
    small = 0.2 * data[0]
    assert torch.allclose(net(small), -net(-small), atol=1e-9)


@pytest.mark.parametrize("name", ["gelu", "silu", "tanh", "sigmoid", "elu", "mish", "softplus"])
def test_shape_meets_the_conditions_of_deep_kernel_shaping(name: str) -> None:
    function, layers = nonlinearity(name), 50
    shape = shaped(function, layers)
    assert shape is not None
    z = torch.linspace(-9, 9, 60_001, dtype=torch.float64)
    weight = torch.exp(-z * z / 2)
    weight = weight / weight.sum()

    def mapped(u: Tensor) -> Tensor:
        value = torch.from_numpy(function.value((shape.scale * u + shape.shift).numpy()))
        return shape.gain * (value + shape.offset)

    step = 1e-4
    slope = (mapped(z + step) - mapped(z - step)) / (2 * step)
    assert float((weight * mapped(z)).sum()) == pytest.approx(0, abs=1e-4)
    assert float((weight * mapped(z) ** 2).sum()) == pytest.approx(1, abs=1e-4)
    assert float((weight * slope**2).sum()) == pytest.approx(TOTAL_SLOPE ** (1 / layers), abs=1e-4)
    if name not in ("tanh", "sigmoid"):  # odd: no shift is spent on Q'(1)
        assert float((weight * mapped(z) * slope * z).sum()) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("activation", [nn.Tanh, nn.Sigmoid, nn.GELU])
def test_folded_net_has_the_kernel_of_the_shaped_one(activation: type[nn.Module]) -> None:
    torch.manual_seed(0)
    width, depth = 256, 12
    net = chain(activation, depth, width, width)
    inputs = batch(48, width)[0]
    inputs[1::2] = 0.6 * inputs[::2] + 0.8 * inputs[1::2]
    inputs = inputs / inputs.square().mean(1, keepdim=True).sqrt()
    start(net, (inputs, LABELS[:48]), fold=True)
    shape = shaped(nonlinearity(activation()), depth)
    assert shape is not None
    signal = shape.gain * (net[:-1](inputs).detach() + shape.offset)
    cosine = F.cosine_similarity(signal[::2], signal[1::2])
    first = F.cosine_similarity(inputs[::2], inputs[1::2])
    function, expected = nonlinearity(activation()), float(first.mean())
    generator = torch.Generator().manual_seed(1)
    for _ in range(depth):  # the correlation map, by sampling
        u = torch.randn(2, 400_000, generator=generator, dtype=torch.float64)
        both = u[0], expected * u[0] + math.sqrt(1 - expected**2) * u[1]
        made = [
            torch.from_numpy(function.value((shape.scale * v + shape.shift).numpy())) for v in both
        ]
        left, right = (shape.gain * (value + shape.offset) for value in made)
        expected = float(
            (left * right).mean() / (left.square().mean() * right.square().mean()).sqrt()
        )
    assert float(signal.square().mean()) == pytest.approx(1, abs=0.05)
    assert float(cosine.mean()) == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize(("rows", "columns"), [(8, 8), (5, 12), (12, 4), (7, 3)])
def test_orthogonal_draws_have_unit_rows(rows: int, columns: int) -> None:
    drawn = orthogonal(rows, columns, torch.Generator().manual_seed(0))
    assert torch.allclose(drawn.square().sum(1), torch.ones(rows).double())
    if rows <= columns or rows % columns == 0:
        small = drawn @ drawn.T if rows <= columns else drawn.T @ drawn
        size = len(small)
        assert torch.allclose(small, max(1, rows // columns) * torch.eye(size).double(), atol=1e-9)


def at_the_middle(weight: torch.Tensor) -> torch.Tensor:
    """Every output's one tap, wherever it stands, moved to the middle of 3 x 3."""
    middle = torch.zeros_like(weight)
    for place, kernel in enumerate(weight):
        taps = {tuple(tap) for tap in kernel.abs().sum(0).nonzero().tolist()}
        assert len(taps) == 1
        y, x = taps.pop()
        middle[place, :, 1, 1] = kernel[:, y, x]
    return middle


def test_kernels_of_a_plain_stretch_are_delta_orthogonal() -> None:
    torch.manual_seed(0)
    model = Plain(12, width=16)
    model(batch(*IMAGES)[0])
    start(model, batch(*IMAGES))
    for place, taps in ((4, [(1, 1)]), (10, [(1, 1), (1, 2), (2, 1), (2, 2)])):
        conv = model.body[place]
        assert isometric_taps(conv) == taps
        weight = conv.weight.detach().clone()
        if len(taps) == 1:
            weight = at_the_middle(weight)
        core = torch.stack([weight[::2, ::2, y, x] for y, x in taps], -1).flatten(1)
        assert torch.allclose(core @ core.T, core.square().sum(1).mean() * torch.eye(8), atol=1e-5)
        assert torch.equal(weight[::2], -weight[1::2])
        share = -weight[:, 1::2].norm() / weight[:, ::2].norm()
        assert -1 < float(share) < -0.5
        assert torch.allclose(weight[:, 1::2], share * weight[:, ::2], atol=1e-6)
        for y, x in taps:
            weight[:, :, y, x] = 0
        assert float(weight.abs().max()) == 0


def test_deep_norm_factors_are_the_published_ones() -> None:
    for layers in (6, 18, 100):
        alpha, beta = deep_norm_factors(2 * layers)
        assert alpha == pytest.approx((2 * layers) ** 0.25)
        assert beta == pytest.approx((8 * layers) ** -0.25)


def test_post_norm_encoder_gets_deep_norm_folded() -> None:
    torch.manual_seed(0)
    model = zoo.Transformer(norm_first=False)
    report = start(model, (torch.randint(11, (16, 7)), LABELS[:16] % 3))
    alpha, beta = deep_norm_factors(4)
    numbers = report.changed("encoder.layers.0.self_attn").numbers
    assert numbers["value_gain"] == pytest.approx(beta)
    assert numbers["output_gain"] == pytest.approx(beta / alpha)
    weight = model.encoder.layers[0].self_attn.in_proj_weight.detach()
    assert float(torch.linalg.svdvals(weight[:8]).max()) == pytest.approx(1, abs=1e-5)
    assert float(torch.linalg.svdvals(weight[16:]).max()) == pytest.approx(beta, abs=1e-5)


def test_pre_norm_branches_are_divided_by_the_root_of_their_number() -> None:
    torch.manual_seed(0)
    model = zoo.Transformer(norm_first=True)
    report = start(model, (torch.randint(11, (16, 7)), LABELS[:16] % 3))
    stream = float(model.embed.weight.detach().square().mean().sqrt())
    gain = report.changed("encoder.layers.1.self_attn").numbers["output_gain"]
    assert gain == pytest.approx(1 / 2, rel=0.5)
    assert gain == pytest.approx(stream / 2, rel=0.15)  # of 11 embeddings, not all are in the batch


class Normed(nn.Module):
    """Residual branches that end in a norm."""

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(blocks))
        self.norms = nn.ModuleList(nn.BatchNorm1d(8) for _ in range(blocks))
        self.head = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = x + norm(layer(x))
        out: Tensor = self.head(x)
        return out


@pytest.mark.parametrize(("blocks", "weight"), [(4, 1.0), (144, 10 / 12)])
def test_norms_that_end_branches_are_scaled_where_there_are_many(
    blocks: int, weight: float
) -> None:
    torch.manual_seed(0)
    model = Normed(blocks)
    nn.init.constant_(model.norms[1].weight, 3.0)
    start(model, batch(32, 8))
    assert model.norms[1].weight.tolist() == pytest.approx([weight] * 8)
    assert float(model.norms[1].running_mean.abs().max()) == 0


@pytest.mark.parametrize(("kind", "sign"), [(nn.LSTM, 1), (nn.GRU, 0)])
def test_gates_stay_open_as_long_as_the_sequence(kind: Any, sign: int) -> None:
    torch.manual_seed(0)
    model = zoo.Recurrent(kind)
    start(model, batch(16, 7, 5), lambda o, y: F.cross_entropy(o, y % 3), train_recurrent_over=100)
    keep = model.rnn.bias_ih_l0.detach()[6:12]
    assert 0 <= float(keep.min()) <= float(keep.max()) <= math.log(99)
    assert float(keep.max()) > math.log(20)
    if sign:
        assert torch.equal(model.rnn.bias_ih_l0.detach()[:6], -keep)
    assert float(model.rnn.bias_hh_l0.detach().abs().max()) == 0
    for block in model.rnn.weight_hh_l0.detach().chunk(4 if sign else 3):
        assert torch.allclose(block @ block.T, torch.eye(6), atol=1e-5)


def test_relu_recurrence_starts_as_the_identity() -> None:
    model = zoo.Recurrent(nn.RNN, nonlinearity="relu")
    start(model, batch(16, 7, 5), lambda o, y: F.cross_entropy(o, y % 3))
    assert torch.equal(model.rnn.weight_hh_l0.detach(), torch.eye(6))


# --- what must not change -----------------------------------------------------------------------


class Mixed(nn.Module):
    """Frozen, tied, embedded and ordinary layers."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(12, 16)
        self.frozen = nn.Linear(16, 16).requires_grad_(False)
        self.body = chain(nn.ReLU, 12, 16, 16)[:-1]
        self.head = nn.Linear(16, 12, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> Tensor:
        out: Tensor = self.head(self.body(self.frozen(self.embed(tokens).mean(1))))
        return out


def test_frozen_tied_and_embedding_weights_stay_to_the_bit() -> None:
    torch.manual_seed(0)
    model = Mixed()
    before = copy.deepcopy(model.state_dict())
    report = start(model, (torch.randint(12, (64, 5)), LABELS))
    after = model.state_dict()
    assert list(before) == list(after)
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert {"embed.weight", "head.weight", "frozen.weight", "frozen.bias"} == same
    reasons = {left.module: left.reason for left in report.left}
    assert reasons["frozen"] == "frozen"
    assert reasons["embed"].startswith("tied")


def test_only_and_leave_are_kept_to() -> None:
    net = chain(nn.ReLU, 12)
    before = copy.deepcopy(net.state_dict())
    start(net, leave="4")
    assert torch.equal(before["4.weight"], net[4].weight)
    before = copy.deepcopy(net.state_dict())
    report = start(net, only=["6", "8"])
    changed = {name for name in before if not torch.equal(before[name], net.state_dict()[name])}
    assert changed <= {"6.weight", "6.bias", "8.weight", "8.bias"}
    assert {change.module for change in report.changes} == {"6", "8"}
    with pytest.raises(BadInput, match="no module or parameter"):
        start(net, leave="nobody")


def trained(seed: int, steps: int = 200) -> nn.Sequential:
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Linear(32, 64),
        nn.ReLU(),
        nn.Linear(64, 64),
        nn.LayerNorm(64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )
    inputs, labels = batch(256, 32, seed=seed)[0], torch.arange(256) % 10
    inputs = inputs + torch.randn(10, 32)[labels]
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(net(inputs), labels).backward()
        optimizer.step()
    return net


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_trained_layers_are_left_alone_and_a_new_head_is_not(seed: int) -> None:
    net = trained(seed)
    net[5] = nn.Linear(64, 10)
    before = copy.deepcopy(net.state_dict())
    report = start(net)
    assert {change.module for change in report.changes} == {"5"}
    assert all(torch.equal(before[f"{k}.weight"], net[k].weight) for k in (0, 2, 3))
    assert "looks trained" in str(report)


DRAWS: dict[str, Callable[[Tensor], Any]] = {
    "default": lambda w: nn.init.kaiming_uniform_(w, math.sqrt(5)),
    "normal": lambda w: nn.init.normal_(w, std=3.0),
    "he": nn.init.kaiming_normal_,
    "xavier": nn.init.xavier_uniform_,
    "truncated": lambda w: nn.init.trunc_normal_(w, std=0.02, a=-0.04, b=0.04),
    "orthogonal": nn.init.orthogonal_,
    "zeros": nn.init.zeros_,
    "constant": lambda w: nn.init.constant_(w, 0.5),
    "positive": lambda w: nn.init.uniform_(w, 0, 1),
    "around one": lambda w: nn.init.normal_(w, 1.0, 0.2),
}


@pytest.mark.parametrize("name", DRAWS)
def test_no_first_draw_looks_trained(name: str) -> None:
    for seed, shape in enumerate([(64, 64), (10, 300), (512, 256), (16, 16, 3, 3), (2000, 50)]):
        torch.manual_seed(seed)
        module = nn.Linear(2, 2) if len(shape) == 2 else nn.Conv2d(16, 16, 3)
        module.weight = nn.Parameter(torch.empty(shape))
        DRAWS[name](module.weight.data)
        assert looks_trained(module) is None, shape


def test_what_critical_wrote_may_be_written_again() -> None:
    net = chain(nn.GELU, 12)
    start(net)
    report = start(net, seed=1)
    assert len(report.changes) == 13


def test_failure_half_way_puts_every_value_back() -> None:
    calls: list[int] = []  # outside of the model, whose attributes are put back after each look

    class Moody(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.norm = chain(nn.ReLU, 12), nn.BatchNorm1d(10)

        def forward(self, x: Tensor) -> Tensor:
            calls.append(len(calls))
            if len(calls) > 2:
                raise ValueError("no more")
            return self.norm(self.net(x))  # type: ignore[no-any-return]

    model = Moody()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises((ValueError, ModelFailed)):
        start(model)
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_random_state_types_grads_and_modes_stay() -> None:
    torch.manual_seed(5)
    net = chain(nn.ReLU, 12)
    net[3].eval()
    kinds, state = [type(m) for m in net.modules()], torch.get_rng_state()
    identities = [id(p) for p in net.parameters()]
    start(net)
    assert torch.equal(state, torch.get_rng_state())
    assert kinds == [type(m) for m in net.modules()]
    assert identities == [id(p) for p in net.parameters()]
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
    assert [m.training for m in net] == [k != 3 for k in range(len(net))]
    assert not any(m._forward_hooks for m in net.modules())


def test_same_seed_same_values() -> None:
    nets = [chain(nn.SiLU, 12) for _ in range(3)]
    for net, seed in zip(nets, (1, 1, 2), strict=True):
        start(net, seed=seed)
    assert torch.equal(nets[0][6].weight, nets[1][6].weight)
    assert not torch.equal(nets[0][6].weight, nets[2][6].weight)


def test_dtypes_are_kept() -> None:
    net = chain(nn.ReLU, 12).to(torch.bfloat16)
    report = start(net, (batch()[0].bfloat16(), LABELS))
    assert {p.dtype for p in net.parameters()} == {torch.bfloat16}
    assert report.after.faults == ()


def test_report_is_readable_and_survives_json() -> None:
    report = start(chain(nn.ReLU, 30))
    again = init.InitReport.from_json(report.to_json())
    assert str(again) == str(report)
    assert again.changed("0").method == "mirrored orthogonal"
    assert "mirrored orthogonal" in str(report)
    assert "backward scale" in report.before.faults
    assert report.passes <= 10
    with pytest.raises(BadInput, match="schema"):
        init.InitReport.from_json({})


def test_nothing_to_change_is_said() -> None:
    with pytest.raises(BadInput, match="may be changed"):
        start(chain(nn.ReLU, 3), only=[])
    with pytest.raises(BadInput, match="time steps"):
        start(chain(nn.ReLU, 3), train_recurrent_over=0)


# --- the gate afterwards ------------------------------------------------------------------------


class Plain(nn.Module):
    """A convolutional net without skips: widths, kernels, strides and groups as asked."""

    def __init__(self, depth: int, width: int = 16, kernel: int = 3, **more: Any) -> None:
        super().__init__()
        norm, depthwise = more.get("norm", False), more.get("depthwise", False)
        parts: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1), nn.ReLU()]
        for k in range(depth):
            stride = 2 if k in (depth // 3, 2 * depth // 3) else 1
            groups = more.get("groups", 1)
            parts.append(nn.Conv2d(width, width, kernel, stride, kernel // 2, groups=groups))
            parts += [nn.BatchNorm2d(width), nn.ReLU()] if norm else [nn.ReLU()]
            if depthwise:
                parts += [nn.Conv2d(width, width, 3, 1, 1, groups=width), nn.ReLU()]
        self.body, self.head = nn.Sequential(*parts), nn.LazyLinear(10)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(torch.flatten(self.body(x), 1))
        return out


class Deep(nn.Module):
    """Residual blocks, or a U-Net, of many layers."""

    def __init__(self, blocks: int, width: int = 32) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
            for _ in range(blocks)
        )
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = x + block(x)
        out: Tensor = self.head(x)
        return out


def encoder(layers: int, norm_first: bool) -> nn.Module:
    layer = nn.TransformerEncoderLayer(
        32, 4, 64, dropout=0.0, batch_first=True, norm_first=norm_first
    )
    body = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
    for part in body.layers:
        for module in part.modules():
            if isinstance(module, nn.Linear):
                module.reset_parameters()
    return nn.Sequential(body, nn.Flatten(), nn.Linear(6 * 32, 10))


IMAGES = (16, 3, 16, 16)
GATES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    **{
        f"{name} {depth}": ((lambda a=activation, d=depth: chain(a, d)), (64, 32))
        for depth in (30, 100)
        for name, activation in {
            **{key: BENT_AT_START[key][0] for key in ("relu", "leaky relu")},
            **{key: LINEAR_AT_START[key] for key in ("gelu", "silu")},
            "tanh": nn.Tanh,
            "sigmoid": nn.Sigmoid,
            "elu": nn.ELU,
        }.items()
    },
    "odd widths": (lambda: chain(nn.ReLU, 40, 31), (64, 32)),
    "plain cnn": (lambda: Plain(20), IMAGES),
    "plain cnn with batch norm": (lambda: Plain(20, norm=True), IMAGES),
    "grouped cnn": (lambda: Plain(20, groups=4), IMAGES),
    "depthwise cnn": (lambda: Plain(12, depthwise=True), IMAGES),
    "even kernels": (lambda: Plain(12, kernel=4), (16, 3, 32, 32)),
    "residual": (lambda: Deep(40), (64, 32)),
    "pre-norm encoder": (lambda: encoder(12, True), (16, 6, 32)),
    "post-norm encoder": (lambda: encoder(12, False), (16, 6, 32)),
}


@pytest.mark.parametrize("name", GATES)
def test_gate_is_in_order_afterwards(name: str) -> None:
    torch.manual_seed(0)
    make, shape = GATES[name]
    model, data = make(), batch(*shape)
    with torch.no_grad():
        model(data[0])
    report = start(model, data)
    gate = report.after.gate
    assert report.after.faults == (), str(report)
    assert gate is not None
    plain = name.split()[-1] in ("30", "100") or "cnn" in name
    if plain:
        assert abs(gate.forward_decades) < 0.1
        assert abs(gate.backward_decades) < 0.3
        assert gate.cosine_last < gate.cosine_first + 0.1
        assert report.after.spread is None or report.after.spread < 1


ZOO: dict[str, tuple[Callable[[], nn.Module], Any]] = {
    "resnet": (zoo.ResNet, zoo.IMAGES),
    "u-net": (zoo.UNet, zoo.IMAGES),
    "densenet": (zoo.DenseBlock, zoo.IMAGES),
    "rnn": (lambda: zoo.Recurrent(nn.RNN), zoo.SERIES),
    "lstm": (lambda: zoo.Recurrent(nn.LSTM, bidirectional=True), zoo.SERIES),
    "gru": (lambda: zoo.Recurrent(nn.GRU, batch_first=False), zoo.SERIES),
    "packed": (lambda: zoo.Recurrent(nn.LSTM, packed=True), zoo.SERIES),
    "cell": (zoo.CellLoop, zoo.SERIES),
    "checkpointed": (lambda: zoo.Checkpointed(False, skip=True), zoo.FLAT),
    "shared": (lambda: zoo.Checkpointed(None, shared=True), zoo.FLAT),
    "tokens": (lambda: zoo.Transformer(True), zoo.TOKENS),
}


@pytest.mark.parametrize("name", ZOO)
def test_every_kind_of_model_goes_through(name: str) -> None:
    torch.manual_seed(0)
    make, data = ZOO[name]
    model = make()
    report = start(model, data, lambda out, _: out.square().mean())
    assert report.changes
    assert report.after.faults == ()
    assert all(bool(p.isfinite().all()) for p in model.parameters())
    named = {n for c in report.changes for n in c.parameters} | {
        n for left in report.left for n in left.parameters
    }
    assert named == {n for n, _ in model.named_parameters(remove_duplicate=False)}


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_gradient_reaches_the_first_of_a_hundred_steps(kind: Any) -> None:
    torch.manual_seed(0)
    model = zoo.Recurrent(kind)

    def ratio() -> float:
        series = batch(16, 100, 5)[0].requires_grad_()
        (grad,) = torch.autograd.grad(model(series).square().sum(), series)
        norms = grad.norm(dim=(0, 2))
        return float(norms[0] / norms[-1])

    before = ratio()
    start(model, batch(16, 100, 5), lambda out, _: out.square().mean())
    assert before < 1e-3
    assert ratio() > 3e-3


# --- by name ------------------------------------------------------------------------------------


def test_he_and_xavier_have_the_published_variances() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(400, 200), nn.ReLU(), nn.Linear(200, 300), nn.Tanh(), nn.Linear(300, 10)
    )
    data = batch(64, 400)
    init.he_(net, data, F.cross_entropy)
    assert float(net[2].weight.detach().var()) == pytest.approx(2 / 200, rel=0.03)
    assert float(net[0].weight.detach().var()) == pytest.approx(1 / 400, rel=0.03)
    init.xavier_(net, data, F.cross_entropy)
    assert float(net[2].weight.detach().var()) == pytest.approx(2 / 500, rel=0.03)
    init.orthogonal_(net, data, F.cross_entropy)
    weight = net[2].weight.detach()
    assert float(torch.linalg.svdvals(weight[:200]).std()) < 1e-4


def test_lsuv_brings_every_layer_to_unit_scale_in_one_pass() -> None:
    torch.manual_seed(0)
    net = chain(nn.ReLU, 20)
    report = init.lsuv_(net, batch(), F.cross_entropy)
    x = batch()[0]
    for layer in net[:-1]:
        x = layer(x)
        if isinstance(layer, nn.Linear):
            assert float(x.detach().square().mean().sqrt()) == pytest.approx(1, abs=1e-3)
    assert report.passes <= 5


def test_fixup_zeroes_the_last_weight_of_each_branch() -> None:
    torch.manual_seed(0)
    net = Deep(9)
    init.fixup_(net, batch(), F.cross_entropy)
    assert float(net.blocks[3][2].weight.detach().abs().max()) == 0
    assert float(net.head.weight.detach().abs().max()) == 0
    assert float(net.blocks[3][0].weight.detach().var()) == pytest.approx(9**-1 / 32, rel=0.15)
    with pytest.raises(BadInput, match="no residual branch"):
        init.fixup_(chain(nn.ReLU, 3), batch(), F.cross_entropy)


# --- learning -----------------------------------------------------------------------------------


def digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    sklearn_datasets = pytest.importorskip("sklearn.datasets")
    pixels, labels = sklearn_datasets.load_digits(return_X_y=True)
    order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0))
    inputs = torch.tensor(pixels, dtype=torch.float32)[order]
    inputs = (inputs - inputs.mean(0)) / (inputs.std(0) + 1e-8)
    wanted = torch.tensor(labels)[order]
    return inputs[:1347], wanted[:1347], inputs[1347:], wanted[1347:]


def spirals() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    way = torch.rand(800, generator=generator).sqrt() * 3 * math.pi
    arm = torch.arange(800) % 2
    angle = way + math.pi * arm
    points = torch.stack([way * angle.cos(), way * angle.sin()], 1) / 6
    return points[:600], arm[:600], points[600:], arm[600:]


def learned(
    net: nn.Module, data: tuple[Tensor, ...], optimizer: torch.optim.Optimizer, steps: int
) -> float:
    inputs, labels, unseen, truth = data
    generator = torch.Generator().manual_seed(0)
    peak = optimizer.param_groups[0]["lr"]
    for step in range(steps):
        pick = torch.randint(len(inputs), (64,), generator=generator)
        optimizer.param_groups[0]["lr"] = peak * min(1, (step + 1) / 20) * (1 - step / steps)
        optimizer.zero_grad()
        F.cross_entropy(net(inputs[pick]), labels[pick]).backward()
        optimizer.step()
    with torch.no_grad():
        return float((net(unseen).argmax(1) == truth).float().mean())


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh])
def test_untouched_net_of_a_hundred_layers_learns_digits(activation: type[nn.Module]) -> None:
    torch.manual_seed(0)
    data = digits()
    net = chain(activation, 99, 48, 64)
    start(net, (data[0][:256], data[1][:256]))
    assert learned(net, data, torch.optim.Adam(net.parameters(), 3e-4), 120) > 0.9


def test_torch_default_does_not_learn_them() -> None:
    torch.manual_seed(0)
    net = chain(nn.ReLU, 99, 48, 64)
    assert learned(net, digits(), torch.optim.Adam(net.parameters(), 3e-4), 50) < 0.25


def test_fifty_layers_solve_two_spirals() -> None:
    torch.manual_seed(0)
    data = spirals()
    net = nn.Sequential(*chain(nn.ReLU, 49, 32, 2)[:-1], nn.Linear(32, 2))
    init.critical_(net, (data[0][:256], data[1][:256]), F.cross_entropy)
    assert learned(net, data, torch.optim.Adam(net.parameters(), 6e-4), 350) > 0.95


def test_healthy_after_treatment_says_the_diagnosis() -> None:
    torch.manual_seed(0)
    net, data = chain(nn.ReLU, 40), batch()
    assert not unvanish.diagnose(net, data, F.cross_entropy).healthy
    start(net, data)
    assert unvanish.diagnose(net, data, F.cross_entropy).healthy


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
@pytest.mark.parametrize("batch_first", [True, False])
def test_each_layer_of_a_stack_reads_at_the_scale_of_one(kind: Any, batch_first: bool) -> None:
    torch.manual_seed(0)
    memory = kind(12, 24, 3, batch_first=batch_first, bidirectional=True)
    memory(torch.randn(4, 5, 12))[0].sum().backward()
    before = torch.random.get_rng_state()
    inputs = torch.randn(32, 9, 12) if batch_first else torch.randn(9, 32, 12)
    torch.random.set_rng_state(before)
    init.critical_(memory, (inputs, torch.zeros(())), lambda out, _: out[0].square().mean())
    assert torch.equal(torch.random.get_rng_state(), before)
    carried = inputs
    for level in range(3):
        first = kind(12 if not level else 48, 24, batch_first=batch_first, bidirectional=True)
        own = {k: v for k, v in memory.state_dict().items() if f"_l{level}" in k}
        first.load_state_dict({k.replace(f"_l{level}", "_l0"): v for k, v in own.items()})
        for block in first.weight_ih_l0.chunk(3 if kind is nn.GRU else 4):
            read = (carried @ block.T).detach()
            assert 0.6 < float(read.square().mean().sqrt()) < 1.6
        carried = first(carried)[0].detach()
