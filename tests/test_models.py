"""The account of real architectures says what their authors would say."""

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations
from zoo import (
    FLAT,
    IMAGES,
    SERIES,
    TOKENS,
    Basic,
    Block,
    CellLoop,
    Checkpointed,
    DenseBlock,
    MBConv,
    Recurrent,
    ResNet,
    Transformer,
    UNet,
    Written,
    mlp,
    seeded,
)

import unvanish
from unvanish import observe
from unvanish.trace import Op, Trace

MASKS = (IMAGES[0], torch.ones(4, 1, 8, 8))


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 3),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(16, 3),
    )


def efficient() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), MBConv(4), MBConv(4), nn.Flatten(), nn.Linear(256, 3)
    )


# make, batch, loss, names of the layers from the loss
LAYERED: dict[str, tuple[Any, Any, Any, list[str]]] = {
    "mlp": (lambda: mlp(nn.Sigmoid(), nn.ReLU(True)), FLAT, F.cross_entropy, ["4", "2", "0"]),
    "cnn": (convolutional, IMAGES, F.cross_entropy, ["7", "4", "0"]),
    "resnet": (
        ResNet,
        IMAGES,
        F.cross_entropy,
        ["fc", "layer2.1", "layer2.0", "layer1.1", "layer1.0", "stem"],
    ),
    "unet": (UNet, MASKS, F.binary_cross_entropy_with_logits, ["out", "join", "", "down1"]),
    "dense": (DenseBlock, IMAGES, F.cross_entropy, ["head", "convs"]),
    "mbconv": (efficient, IMAGES, F.cross_entropy, ["4", "2", "1", "0"]),
    "post-norm": (
        lambda: Transformer(norm_first=False),
        TOKENS,
        F.cross_entropy,
        [
            "head",
            *("encoder.layers.1", "encoder.layers.1.self_attn"),
            *("encoder.layers.0", "encoder.layers.0.self_attn"),
        ],
    ),
    "pre-norm": (
        lambda: Transformer(norm_first=True),
        TOKENS,
        F.cross_entropy,
        [
            "head",
            *("encoder.layers.1", "encoder.layers.1.self_attn"),
            *("encoder.layers.0", "encoder.layers.0.self_attn"),
        ],
    ),
}


@pytest.fixture(params=LAYERED)
def layered(request: pytest.FixtureRequest) -> tuple[nn.Module, Trace, list[str]]:
    make, batch, loss, names = LAYERED[request.param]
    model = seeded(make)
    return model, observe(model, batch, loss), names


def test_layers_are_those_of_the_architecture(layered: tuple[nn.Module, Trace, list[str]]) -> None:
    _, trace, names = layered
    assert [layer.name for layer in trace.layers] == names


def test_every_op_has_a_role_and_a_module_of_the_model(
    layered: tuple[nn.Module, Trace, list[str]],
) -> None:
    model, trace, _ = layered
    assert not {op.kind for op in trace.ops if op.role == "rest"}
    assert {op.module for op in trace.ops} <= {name for name, _ in model.named_modules()}


def test_every_weight_is_reached_and_lies_on_one_layer(
    layered: tuple[nn.Module, Trace, list[str]],
) -> None:
    model, trace, _ = layered
    held = [name for layer in trace.layers for name in layer.parameters]
    matrices = {
        name
        for name, parameter in model.named_parameters()
        if parameter.dim() >= 2 and not name.startswith("embed")
    }
    assert len(held) == len(set(held))
    assert matrices <= set(held)
    assert {p.state for p in trace.parameters} <= {"reached", "tiny", "zero"}
    assert {p.uses for p in trace.parameters} == {1}


def test_trunk_gains_add_up_to_the_whole(layered: tuple[nn.Module, Trace, list[str]]) -> None:
    _, trace, _ = layered
    first, last = trace.trunk[0].norm, trace.trunk[-1].norm
    assert first
    assert last
    total = math.fsum(point.decades for point in trace.trunk if point.decades is not None)
    assert total == pytest.approx(math.log10(last / first), abs=1e-9)


def test_a_saved_trace_is_the_same(layered: tuple[nn.Module, Trace, list[str]]) -> None:
    _, trace, _ = layered
    assert Trace.from_json(trace.to_json()) == trace


@pytest.mark.parametrize("name", ["resnet", "mbconv", "post-norm", "pre-norm"])
def test_blocks_with_a_way_around_are_residual(name: str) -> None:
    make, batch, loss, names = LAYERED[name]
    trace = observe(seeded(make), batch, loss)
    residual = [point for point in trace.trunk if point.role == "residual"]
    assert len(residual) == sum("layer" in n or n in ("1", "2") for n in names)
    assert all(point.skip_share is not None and 0 < point.skip_share < 1 for point in residual)


def test_skip_share_is_the_energy_of_the_way_around() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), Residual(4), nn.Linear(4, 3))
    trace = observe(model, FLAT, F.cross_entropy)
    (share,) = [p.skip_share for p in trace.trunk if p.role == "residual"]
    middle = model[0](FLAT[0]).detach().requires_grad_()
    around = middle.clone()
    through = middle.clone()
    around.retain_grad()
    through.retain_grad()
    F.cross_entropy(model[2](around + model[1].inner(through)), FLAT[1]).backward()
    assert around.grad is not None
    assert through.grad is not None
    energy = around.grad.square().sum() / (around.grad.square().sum() + through.grad.square().sum())
    assert share == pytest.approx(float(energy), rel=1e-5)


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = Block(width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


def steps_of(model: Recurrent | CellLoop, lengths: list[int] | None = None) -> list[float]:
    """Dl/dx_t at the input of the whole model, by autograd alone."""
    source = SERIES[0].clone().requires_grad_()
    F.cross_entropy(model(source), SERIES[1]).backward()
    assert source.grad is not None
    return source.grad.norm(dim=(0, 2)).tolist()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"batch_first": False},
        {"bidirectional": True},
        {"num_layers": 2},
        {"packed": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_recurrent_profile_is_the_gradient_at_each_step(kind: Any, options: dict[str, Any]) -> None:
    model = seeded(Recurrent, kind, **options)
    trace = observe(model, SERIES, F.cross_entropy)
    (profile,) = trace.profiles
    assert (profile.module, profile.axis, profile.source) == ("rnn", "time", "input")
    assert profile.norms == pytest.approx(steps_of(model), rel=1e-4)
    assert profile.bidirectional is bool(model.rnn.bidirectional)
    assert trace.layers[0].name == "head"
    assert {layer.name for layer in trace.layers[1:]} == {"rnn"}
    assert not {op.kind for op in trace.ops if op.role == "rest"}


@pytest.mark.parametrize("frozen", [False, True])
def test_recurrent_over_tokens(frozen: bool) -> None:
    torch.manual_seed(0)
    embed = nn.Embedding(11, 5)
    embed.requires_grad_(not frozen)
    model = nn.Sequential(embed, Recurrent(nn.LSTM))
    trace = observe(model, TOKENS, F.cross_entropy)
    source = embed(TOKENS[0]).detach().requires_grad_()
    F.cross_entropy(model[1](source), TOKENS[1]).backward()
    assert source.grad is not None
    (profile,) = [p for p in trace.profiles if p.axis == "time"]
    assert profile.norms == pytest.approx(source.grad.norm(dim=(0, 2)).tolist(), rel=1e-4)
    assert trace.strangers == ()  # the input we made differentiable is ours, nobody's weight
    assert [p.source for p in trace.profiles if p.axis == "position"] == ["embedding"] * (
        not frozen
    )


def test_cell_called_in_a_loop() -> None:
    model = seeded(CellLoop)
    trace = observe(model, SERIES, F.cross_entropy)
    (profile,) = [p for p in trace.profiles if p.axis == "time"]
    assert (profile.module, profile.source) == ("cell", "call")
    state, states = SERIES[0].new_zeros(4, 6), []
    for step in range(7):
        state = model.cell(SERIES[0][:, step], state)
        state.retain_grad()
        states.append(state)
    F.cross_entropy(model.head(state), SERIES[1]).backward()
    assert profile.norms == pytest.approx([float(s.grad.norm()) for s in states], rel=1e-4)
    assert trace.parameter("cell.weight_hh").uses == 7
    assert not [p for p in trace.trunk if p.role == "residual"]  # one step's input is no skip


def test_hugging_face_models() -> None:
    transformers = pytest.importorskip("transformers")
    transformers.logging.set_verbosity_error()
    gpt = transformers.GPT2Config(
        vocab_size=20,
        n_positions=16,
        n_embd=16,
        n_layer=2,
        n_head=2,
        bos_token_id=0,
        eos_token_id=0,
    )
    llama = transformers.LlamaConfig(
        vocab_size=20,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
    )
    batch = {"input_ids": TOKENS[0], "labels": TOKENS[0]}

    def step(model: nn.Module, batch: Any) -> Tensor:
        return model(**batch).loss

    trace = observe(seeded(transformers.GPT2LMHeadModel, gpt), batch, forward=step)
    parts = (
        "transformer.h.1.mlp",
        "transformer.h.1.attn",
        "transformer.h.0.mlp",
        "transformer.h.0.attn",
    )
    assert [layer.name for layer in trace.layers] == ["lm_head", *parts]
    assert trace.parameter("lm_head.weight") is trace.parameter("transformer.wte.weight")
    assert trace.parameter("lm_head.weight").uses == 2
    assert not {op.kind for op in trace.ops if op.role == "rest"}

    trace = observe(seeded(transformers.LlamaForCausalLM, llama), batch, forward=step)
    layers = [f"model.layers.{i}.{part}" for i in (1, 0) for part in ("mlp", "self_attn")]
    assert [layer.name for layer in trace.layers] == ["lm_head", *layers]
    assert trace.ops[trace.trunk[-1].op].kind == "Embedding"
    written_out = [p for p in trace.trunk if trace.ops[p.op].module == "model.norm"]
    assert {point.role for point in written_out} == {"norm"}
    assert trace.layers[1].decades["activation"] == 0  # the norm is no activation
    assert all(layer.output_rms for layer in trace.layers)


def test_functional_activations_are_read_like_modules() -> None:
    def call(layer: nn.Module, x: Tensor) -> Tensor:
        return F.gelu(F.leaky_relu_(layer(x), 0.2)) * torch.sigmoid(x[:, :3])

    trace = observe(seeded(Written, call), FLAT, F.cross_entropy)
    assert [a.function for a in trace.activations] == ["leaky_relu", "gelu", "sigmoid"]
    assert trace.activations[0].fed_by == "layer"
    assert trace.activations[2].gate


def test_module_called_several_times_is_several_layers() -> None:
    def call(layer: nn.Module, x: Tensor) -> Tensor:
        for _ in range(3):
            x = torch.sigmoid(layer(x))
        return x

    trace = observe(seeded(Written, call, 4, 4), (FLAT[0], FLAT[0]), F.mse_loss)
    assert [layer.name for layer in trace.layers] == ["layer"] * 3
    assert [op.call for op in trace.of_kind("Addmm")] == [2, 1, 0]
    assert trace.parameter("layer.weight").uses == 3
    assert [a.call for a in trace.activations] == [0, 0, 0]  # all in the one call of the root


def test_tied_weights_are_one_parameter_with_two_names() -> None:
    model = seeded(mlp, nn.Tanh(), nn.Tanh(), width=4)
    model[2].weight = model[0].weight
    trace = observe(model, FLAT, F.cross_entropy)
    tied = trace.parameter("2.weight")
    assert tied.names == ("0.weight", "2.weight")
    assert tied.uses == 2
    F.cross_entropy(model(FLAT[0]), FLAT[1]).backward()
    assert tied.gradient_norm == pytest.approx(float(model[0].weight.grad.norm()), rel=1e-5)


# Checkpointing -------------------------------------------------------------------------------


def figures(trace: Trace) -> list[Any]:
    """The ledger without the seams of checkpoints and without indices."""
    seams = {op.inside for op in trace.ops} | {
        op.index for op in trace.ops if op.kind == "CheckpointInput"
    }
    kept = [op for op in trace.ops if op.index not in seams]
    return sorted(
        (
            op.kind,
            op.role,
            op.module,
            op.call,
            op.parameter or "",
            op.norm,
            op.output_rms,
            edges(op),
        )
        for op in kept
    )


def near(value: float | None) -> Any:
    """Equal up to rounding; nothing where there is nothing."""
    return None if value is None else pytest.approx(value, rel=1e-5)


def edges(op: Op) -> tuple[Any, ...]:
    return tuple((edge.side, edge.norm) for edge in op.edges)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing_changes_nothing_in_the_account(
    reentrant: bool, skip: bool, shared: bool
) -> None:
    plain = observe(seeded(Checkpointed, None, skip, shared), FLAT, F.cross_entropy)
    trace = observe(seeded(Checkpointed, reentrant, skip, shared), FLAT, F.cross_entropy)
    assert len(figures(trace)) == len(figures(plain))
    for mine, other in zip(figures(trace), figures(plain), strict=True):
        assert mine[:5] == other[:5]
        assert mine[5:7] == (near(other[5]), near(other[6]))
        assert [e[0] for e in mine[7]] == [e[0] for e in other[7]]
        assert [e[1] for e in mine[7]] == [near(e[1]) for e in other[7]]
    for mine, other in zip(trace.layers, plain.layers, strict=True):
        assert (mine.name, mine.modules) == (other.name, other.modules)
        assert mine.decades == pytest.approx(other.decades, abs=1e-6)
        assert mine.skip_share == near(other.skip_share)
        assert mine.output_rms == near(other.output_rms)
    for mine, other in zip(trace.parameters, plain.parameters, strict=True):
        assert mine.gradient_norm == pytest.approx(other.gradient_norm, rel=1e-5)
        assert (mine.state, mine.uses, mine.used, mine.to_loss) == (
            *(other.state, other.uses),
            *(other.used, other.to_loss),
        )
    assert [dataclasses.astuple(a) for a in trace.activations] == [
        dataclasses.astuple(a) for a in plain.activations
    ]
    assert trace.unseen == plain.unseen


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize("tokens", [True, False])
def test_reentrant_checkpoint_above_a_frozen_entry_trains_nothing(tokens: bool) -> None:
    batch = TOKENS if tokens else FLAT
    model = seeded(Checkpointed, True, tokens=tokens, frozen=True)
    trace = observe(model, batch, F.cross_entropy)
    F.cross_entropy(model(batch[0]), batch[1]).backward()
    for name, parameter in model.named_parameters():
        expected = "frozen" if not parameter.requires_grad else "none"
        expected = "reached" if parameter.grad is not None else expected
        assert trace.parameter(name).state == expected, name
    assert trace.parameter("blocks.0.linear.weight").state == "none"
    assert trace.parameter("blocks.0.linear.weight").gradient_norm is None


def test_checkpoint_within_a_checkpoint() -> None:
    from torch.utils.checkpoint import checkpoint

    class Nested(nn.Module):
        def __init__(self, nested: bool) -> None:
            super().__init__()
            self.entry, self.inner, self.outer = nn.Linear(4, 4), Block(), Block()
            self.head, self.nested = nn.Linear(4, 3), nested

        def both(self, x: Tensor) -> Tensor:
            x = checkpoint(self.inner, x, use_reentrant=True) if self.nested else self.inner(x)
            return self.outer(x)

        def forward(self, x: Tensor) -> Tensor:
            x = self.entry(x)
            x = checkpoint(self.both, x, use_reentrant=True) if self.nested else self.both(x)
            return self.head(x)

    plain = observe(seeded(Nested, False), FLAT, F.cross_entropy)
    trace = observe(seeded(Nested, True), FLAT, F.cross_entropy)
    assert [layer.name for layer in trace.layers] == [layer.name for layer in plain.layers]
    for mine, other in zip(trace.layers, plain.layers, strict=True):
        assert mine.decades == pytest.approx(other.decades, abs=1e-6)
        assert mine.output_rms == pytest.approx(other.output_rms, rel=1e-5)


# Programs of other shapes ------------------------------------------------------------------------


def test_autocast_keeps_the_account() -> None:
    plain = seeded(mlp, nn.Tanh(), nn.Tanh())

    def low(model: nn.Module, batch: Any) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            outputs = model(batch[0])
        return F.cross_entropy(outputs.float(), batch[1])

    exact = observe(plain, FLAT, F.cross_entropy)
    trace = observe(plain, FLAT, forward=low)
    assert [layer.name for layer in trace.layers] == [layer.name for layer in exact.layers]
    for mine, other in zip(trace.layers, exact.layers, strict=True):
        # bfloat16 keeps eight bits: about one part in 256 an op, a few ops a layer
        assert mine.total == pytest.approx(other.total, abs=0.02)
    assert not {op.kind for op in trace.ops if op.role == "rest"}


@pytest.mark.parametrize("how", ["whole", "part", "in place"])
def test_compiled_models_are_observed_eagerly(how: str) -> None:
    model = seeded(mlp, nn.Tanh(), nn.Tanh())
    plain = observe(model, FLAT, F.cross_entropy)
    if how == "whole":
        model = torch.compile(model, backend="eager")
    elif how == "in place":
        model.compile(backend="eager")
    else:
        model[1] = torch.compile(model[1], backend="eager")
    trace = observe(model, FLAT, F.cross_entropy)
    assert any("compiled" in note for note in trace.conditions.notes)
    assert [p.norm for p in trace.trunk] == [pytest.approx(p.norm, rel=1e-6) for p in plain.trunk]


def test_side_inputs_of_every_kind() -> None:
    def call(layer: nn.Module, x: Tensor, phase: Tensor, *, places: Tensor) -> Tensor:
        return torch.fft.ifft(torch.fft.fft(layer(x)) * phase).real.index_select(1, places)

    torch.manual_seed(0)
    model = Written(call, 4, 4)
    phase = torch.exp(1j * torch.arange(4.0))
    places = torch.tensor([2, 0, 1])
    trace = observe(
        model,
        (FLAT[0], phase, FLAT[1]),
        forward=lambda m, b: F.cross_entropy(m(b[0], b[1], places=places), b[2]),
    )
    assert [layer.name for layer in trace.layers] == ["layer"]
    assert not {op.kind for op in trace.ops if op.role == "rest"}


def test_several_outputs_and_a_loss_of_several_terms() -> None:
    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.kind, self.value = nn.Linear(4, 4), nn.Linear(4, 3), nn.Linear(4, 1)

        def forward(self, x: Tensor) -> dict[str, Any]:
            x = torch.relu(self.body(x))
            return {"kind": self.kind(x), "value": self.value(x), "count": 2}

    def loss(outputs: dict[str, Any], target: Tensor) -> Tensor:
        return F.cross_entropy(outputs["kind"], target) + 0.1 * outputs["value"].square().mean()

    trace = observe(seeded(Heads), FLAT, loss)
    assert trace.layers[-1].name == "body"
    heads = {"kind.weight", "kind.bias", "value.weight", "value.bias"}
    assert set(trace.layers[0].parameters) == heads


def test_term_of_a_loss_is_no_skip() -> None:
    class Coder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encode, self.decode = nn.Linear(4, 4), nn.Linear(2, 4)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            mean, width = self.encode(x).chunk(2, -1)
            return self.decode(mean + width.exp() * 0.1), width

    def loss(outputs: tuple[Tensor, Tensor], target: Tensor) -> Tensor:
        return F.mse_loss(outputs[0], target) + (outputs[1].exp() - outputs[1]).mean()

    trace = observe(seeded(Coder), (FLAT[0], FLAT[0]), loss)
    assert "residual" not in {point.role for point in trace.trunk}
    assert [layer.name for layer in trace.layers] == ["decode", "encode"]


def test_masked_attention_scores_are_no_layer() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.head = nn.Embedding(11, 8), nn.Linear(8, 3)
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, tokens: Tensor, padding: Tensor) -> Tensor:
            x = self.embed(tokens)
            return self.head(self.attention(x, x, x, key_padding_mask=padding)[0][:, 0])

    padding = torch.zeros(4, 7, dtype=torch.bool)
    trace = observe(seeded(Masked), ((TOKENS[0], padding), TOKENS[1]), F.cross_entropy)
    assert [layer.name for layer in trace.layers] == ["head", "attention", "attention"]
    assert all(layer.parameters for layer in trace.layers)


def test_positions_of_a_convolved_series_are_its_last_dimension() -> None:
    net = nn.Sequential(nn.Conv1d(5, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(20, 3))
    series = SERIES[0].transpose(1, 2)
    trace = observe(net, (series, SERIES[1]), F.cross_entropy)
    source = series.clone().requires_grad_()
    F.cross_entropy(net(source), SERIES[1]).backward()
    assert source.grad is not None
    (profile,) = trace.profiles
    assert profile.norms == pytest.approx(source.grad.norm(dim=(0, 1)).tolist(), rel=1e-4)


def test_learnable_loss_is_a_stranger_outside() -> None:
    class Centers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.centers = nn.Parameter(torch.eye(3))

        def forward(self, outputs: Tensor, target: Tensor) -> Tensor:
            return F.cross_entropy(-torch.cdist(outputs, self.centers), target)

    loss = Centers()
    trace = observe(seeded(mlp, nn.Tanh()), FLAT, loss)
    (stranger,) = trace.strangers
    assert (stranger.owner, stranger.shape, stranger.operation) == ("outside", (3, 3), "Cdist")
    assert stranger.gradient_norm
    assert loss.centers.grad is None


def test_layers_in_a_python_list_are_strangers_inside() -> None:
    hidden = [seeded(nn.Linear, 3, 3) for _ in range(2)]

    def call(layer: nn.Module, x: Tensor) -> Tensor:
        x = layer(x)
        for extra in hidden:
            x = torch.tanh(extra(x))
        return x

    trace = observe(seeded(Written, call), FLAT, F.cross_entropy)
    assert len(trace.strangers) == 4
    assert {s.owner for s in trace.strangers} == {"unregistered"}
    assert len(trace.layers) == 3  # they are layers all the same
    # What goes towards an unregistered weight does not go towards the data.
    for op in trace.of_kind("Addmm"):
        assert sum(edge.side == "data" for edge in op.edges) == 1


def test_restarted_input_is_no_stranger() -> None:
    def penalty(model: nn.Module, batch: Any) -> Tensor:
        x = batch[0].detach().requires_grad_()
        outputs = model(x)
        (slope,) = torch.autograd.grad(outputs.sum(), x, create_graph=True)
        return F.cross_entropy(outputs, batch[1]) + slope.square().sum()

    trace = observe(seeded(mlp, nn.Tanh()), FLAT, forward=penalty)
    assert trace.strangers == ()
    assert trace.ops[trace.trunk[-1].op].role == "leaf"
    assert not {op.kind for op in trace.ops if op.role == "rest"}


def test_frozen_backbone() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    model[0].requires_grad_(False)
    trace = observe(model, IMAGES, F.cross_entropy)
    assert [layer.name for layer in trace.layers] == ["3", "0"]
    assert trace.layers[1].parameters == ()
    assert trace.parameter("0.weight").state == "frozen"
    assert {op.in_program for op in trace.of_kind("Convolution")} == {False}
    assert {op.in_program for op in trace.of_kind("Addmm")} == {True}


@pytest.mark.parametrize("sparse", [False, True])
def test_embedding_gradients(sparse: bool) -> None:
    def net(sparse: bool) -> nn.Module:
        return nn.Sequential(nn.Embedding(11, 4, sparse=sparse), nn.Flatten(), nn.Linear(28, 3))

    model = seeded(net, sparse)
    trace = observe(model, TOKENS, F.cross_entropy)
    F.cross_entropy(model(TOKENS[0]), TOKENS[1]).backward()
    grad = model[0].weight.grad
    grad = grad.to_dense() if sparse else grad
    reading = trace.parameter("0.weight")
    assert reading.gradient_norm == pytest.approx(float(grad.norm()), rel=1e-5)
    assert trace.ops[trace.trunk[-1].op].kind == "Embedding"


def test_frozen_embedding_ends_the_trunk_where_gradient_ends() -> None:
    model = nn.Sequential(
        nn.Embedding(11, 4), nn.Linear(4, 4), nn.Tanh(), nn.Flatten(), nn.Linear(28, 3)
    )
    model[0].requires_grad_(False)
    trace = observe(model, TOKENS, F.cross_entropy)
    assert [layer.name for layer in trace.layers] == ["4"]
    assert trace.ops[trace.trunk[-1].op].module == "1"


class Clip(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grad * (x > 0)


def test_custom_function_is_measured_and_named_as_not_seen() -> None:
    trace = observe(seeded(Written, lambda layer, x: Clip.apply(layer(x))), FLAT, F.cross_entropy)
    (op,) = trace.of_kind("Clip")
    assert op.gain is not None
    assert 0 < op.gain < 1
    assert any("Clip" in line for line in trace.unseen)


@pytest.mark.parametrize("wrap", ["weight_norm", "spectral_norm", "orthogonal"])
def test_reparametrised_weights_stay_weights(wrap: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3))
    getattr(parametrizations, wrap)(model[0])
    trace = observe(model, FLAT, F.cross_entropy)
    assert [layer.name for layer in trace.layers] == ["2", "0"]
    originals = {name for name, _ in model[0].named_parameters(prefix="0")}
    assert set(trace.layers[1].parameters) == originals
    assert {trace.parameter(name).uses for name in originals} == {1}
    (product,) = [op for op in trace.of_kind("Addmm") if op.module == "0"]
    assert sum(edge.side == "data" for edge in product.edges) == 1


def test_low_rank_update_is_part_of_its_weight() -> None:
    class LowRank(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.base = nn.Linear(4, 3)
            self.left, self.right = nn.Parameter(torch.randn(3, 1)), nn.Parameter(torch.randn(1, 4))

        def forward(self, x: Tensor) -> Tensor:
            return F.linear(x, self.base.weight + self.left @ self.right, self.base.bias)

    trace = observe(seeded(LowRank), FLAT, F.cross_entropy)
    assert len(trace.layers) == 1
    assert set(trace.layers[0].parameters) == {"base.weight", "base.bias", "left", "right"}


def test_model_that_starts_from_a_parameter_still_has_a_trunk() -> None:
    class Latent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.code = nn.Parameter(torch.randn(8, 4))
            self.net = mlp(nn.Tanh(), nn.Tanh())

        def forward(self, _: Tensor) -> Tensor:
            return self.net(self.code)

    trace = observe(seeded(Latent), (torch.zeros(1, dtype=torch.int64), FLAT[1]), F.cross_entropy)
    assert [layer.name for layer in trace.layers][:2] == ["net.4", "net.2"]


def test_zero_size_batch_is_no_exception() -> None:
    model = seeded(mlp, nn.ReLU())
    empty = FLAT[0][:0], FLAT[1][:0]
    trace = observe(model, empty, lambda out, target: F.cross_entropy(out, target, reduction="sum"))
    assert {p.state for p in trace.parameters} == {"zero"}


def test_model_that_refuses_differentiable_inputs() -> None:
    def call(layer: nn.Module, x: Tensor) -> Tensor:
        return layer(torch.from_numpy(x.numpy() * 2))

    trace = observe(seeded(Written, call), FLAT, F.cross_entropy)
    assert not trace.conditions.inputs_differentiated
    assert "numpy" in " ".join(trace.conditions.notes)
    assert trace.parameter("layer.weight").state == "reached"


def test_several_batches_are_read() -> None:
    model = seeded(mlp, nn.Tanh())
    batches = [(FLAT[0] + shift, FLAT[1]) for shift in (0.0, 0.5, 1.0)]
    trace = observe(model, batches, F.cross_entropy, batches=3)
    norms = []
    for inputs, targets in batches:
        model.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        norms.append(float(model[0].weight.grad.norm()))
    reading = trace.parameter("0.weight")
    assert reading.gradient_norm == pytest.approx(
        math.sqrt(sum(n * n for n in norms) / 3), rel=1e-5
    )
    mean = sum(norms) / 3
    deviation = math.sqrt(sum((n - mean) ** 2 for n in norms) / 2)
    assert reading.spread == pytest.approx(deviation / mean, rel=1e-4)
    assert trace.conditions.batches == 3


def test_nothing_here_needs_the_block_names() -> None:
    """Parameters renamed and the model wrapped: the same numbers under other names."""
    plain = observe(seeded(Basic, 3, 3), IMAGES, lambda out, _: out.square().mean())
    wrapped = observe(
        nn.ModuleDict({"x": seeded(Basic, 3, 3)}),
        IMAGES,
        forward=lambda model, batch: model["x"](batch[0]).square().mean(),
    )
    # A ModuleDict is never called, so the block's ops differ in path alone.
    assert [p.norm for p in wrapped.trunk][: len(plain.trunk)] == [
        pytest.approx(p.norm, rel=1e-6) for p in plain.trunk
    ]
    assert [layer.name for layer in wrapped.layers] == ["x"]
    assert unvanish.__version__ == wrapped.conditions.unvanish
