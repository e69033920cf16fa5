"""Edits on real models: what is kept is kept, what is changed computes what it says."""

import copy
import io
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import zoo
from torch import Tensor, nn
from torch.nn import functional as F

from unvanish import surgery
from unvanish.errors import BadInput, UnvanishError
from unvanish.nn import LSTMLikeRNN, Skip, SkipSequential, TailoredLeakyReLU, extend_
from unvanish.surgery import CannotCut, Edit, Part

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from models import BasicBlock

LAYER_NORM = Part(type="torch.nn.LayerNorm", arguments={"normalized_shape": 8})
GELU = Part(type="torch.nn.GELU")


def classified(outputs: Any, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs, targets)


def bits(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same_bits(model: nn.Module, before: dict[str, Tensor]) -> bool:
    now = model.state_dict()
    return list(now) == list(before) and all(torch.equal(now[n], before[n]) for n in now)


class Handwritten(nn.Module):
    """Functions, methods, tied weights, a module called twice, lists of modules."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(4, 8)
        self.blocks = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))
        self.twice = nn.Linear(8, 8)
        self.leave = nn.Linear(8, 3)
        self.blocks[2].weight = self.blocks[0].weight
        self.act = torch.tanh
        self.relu = nn.ReLU()
        self.__secret = 2.0

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.enter(x))  # a comment that stays
        for block in self.blocks:
            x = torch.sigmoid(block(x))
        x = self.twice(self.relu(self.twice(x)))
        x = self.act(x).tanh() * self.__secret
        F.relu_(x)
        return self.leave(F.leaky_relu(x, 0.3))


CASES: dict[str, tuple[Callable[[], nn.Module], Any, str, str]] = {
    "mlp": (lambda: zoo.mlp(nn.Tanh(), nn.ReLU()), zoo.FLAT, "1", "2"),
    "resnet": (zoo.ResNet, zoo.IMAGES, "relu", "layer1.0.conv1"),
    "resnet block": (lambda: wide_resnet(), zoo.IMAGES, "1.relu", "1.conv1"),
    "mbconv": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 1), zoo.MBConv(4), nn.Flatten(), nn.Linear(256, 3)),
        zoo.IMAGES,
        "1.expand.2",
        "1.squeeze",
    ),
    "transformer": (
        lambda: zoo.Transformer(False),
        zoo.TOKENS,
        "encoder.layers.0.activation",
        "encoder.layers.1.linear1",
    ),
    "lstm": (lambda: zoo.Recurrent(nn.LSTM), zoo.SERIES, "", "rnn"),
    "packed": (lambda: zoo.Recurrent(nn.GRU, packed=True), zoo.SERIES, "", "head"),
    "handwritten": (Handwritten, zoo.FLAT, "act", "blocks.1"),
}


def wide_resnet() -> nn.Module:
    stem = nn.Conv2d(3, 4, 3, padding=1)
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))
    return nn.Sequential(stem, BasicBlock(4, 8, 2), BasicBlock(8, 8, 1), head)


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[nn.Module, Any, str, str]:
    make, batch, activation, layer = CASES[request.param]
    return zoo.seeded(make), batch, activation, layer


def test_no_edit_is_an_equal_copy_and_the_patient_stays(
    case: tuple[nn.Module, Any, str, str],
) -> None:
    model, (x, _), _, _ = case
    model.eval()
    before, random = bits(model), torch.get_rng_state()
    treated = surgery.apply(model, [])
    assert same_bits(treated, before)
    assert torch.equal(treated(x), model(x))
    assert not {id(p) for p in treated.parameters()} & {id(p) for p in model.parameters()}
    assert torch.equal(torch.get_rng_state(), random)


def test_a_skip_that_starts_closed_and_a_norm_keep_names_modes_and_patient(
    case: tuple[nn.Module, Any, str, str],
) -> None:
    model, batch, _, layer = case
    model.eval()
    before, random = bits(model), torch.get_rng_state()
    edits = [Edit(action="wrap", where=(layer,), options={"kind": "rezero"})]
    treated = surgery.apply(model, edits, batch=batch, loss=classified)
    kept = treated.state_dict()
    assert all(torch.equal(kept[name], value) for name, value in before.items())
    assert set(kept) - set(before)
    assert all(name.startswith(f"{layer}.skip.") for name in set(kept) - set(before))
    assert same_bits(model, before)
    assert torch.equal(torch.get_rng_state(), random)
    assert not any(module.training for module in treated.modules())
    loss = classified(treated(batch[0]), batch[1])
    loss.backward()
    gate = treated.get_submodule(f"{layer}.skip").gate
    assert gate.grad is not None
    assert float(gate.grad.abs()) > 0


def test_the_activation_of_every_model_is_replaced(
    case: tuple[nn.Module, Any, str, str],
) -> None:
    model, batch, activation, _ = case
    if not activation:
        return
    treated = surgery.apply(
        model,
        [Edit(action="replace", where=(activation,), part=GELU)],
        batch=batch,
        loss=classified,
    )
    assert isinstance(treated.get_submodule(activation), nn.GELU)
    assert same_bits(treated, bits(model))
    assert not torch.equal(treated.eval()(batch[0]), model.eval()(batch[0]))


def test_a_gated_block_is_the_identity_and_then_x_plus_gate_times_f() -> None:
    model = zoo.seeded(lambda: nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4)))
    x = zoo.FLAT[0]
    for kind, wanted in (
        ("rezero", lambda f: x + 0.0 * f),
        ("convex", lambda f: x + torch.sigmoid(torch.tensor(-4.0)) * (f - x)),
    ):
        for where in (("",), ("0", "2")):
            edit = Edit(action="wrap", where=where, options={"kind": kind})
            treated = surgery.apply(model, [edit])
            assert torch.equal(treated(x), wanted(model(x)))
    opened = Edit(action="wrap", where=("2",), options={"kind": "skipinit", "gate_start": 0.5})
    inner = model[1](model[0](x))
    assert torch.equal(surgery.apply(model, [opened])(x), inner + 0.5 * model[2](inner))


def test_stretches_of_a_sequential_nest() -> None:
    model = zoo.seeded(lambda: nn.Sequential(*(nn.Linear(4, 4) for _ in range(4))))
    gates = {"kind": "skipinit", "gate_start": 0.5}
    edits = [
        Edit(action="wrap", where=("0", "3"), options=gates),
        Edit(action="wrap", where=("1", "2"), options=gates),
        Edit(action="wrap", where=("2", "2"), options=gates),
    ]
    treated = surgery.apply(model, edits)
    x = zoo.FLAT[0]
    a = model[0](x)
    b = model[1](a)
    inner = a + 0.5 * (b + 0.5 * model[2](b))
    # (2, 2) is one module: its skip lies within the stretch 1 to 2
    assert torch.allclose(treated(x), x + 0.5 * model[3](inner), atol=1e-6)
    assert isinstance(treated, SkipSequential)
    assert [type(child) for child in treated] == [nn.Linear] * 4
    assert len(treated) == 4
    assert treated[-1] is treated[3]
    assert type(treated[1:3]) is nn.Sequential


def test_a_skip_past_an_inplace_activation_carries_what_came_in() -> None:
    model = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 4))
    x = zoo.FLAT[0].clone()
    treated = surgery.apply(model, [Edit(action="wrap", where=("0", "1"))])
    assert torch.equal(treated(x), zoo.FLAT[0])
    assert torch.equal(surgery.apply(model, [Edit(action="wrap", where=("",))])(x), zoo.FLAT[0])


@pytest.mark.parametrize(
    ("layer", "x", "kind"),
    [
        (nn.Linear(4, 6), torch.randn(3, 4), nn.Linear),
        (nn.Conv2d(3, 5, 3, 2, 1), torch.randn(2, 3, 7, 7), nn.Conv2d),
        (nn.Conv1d(6, 4, 3, 2, 1), torch.randn(2, 6, 8), nn.Conv1d),
        (nn.Conv3d(2, 4, 1), torch.randn(2, 2, 4, 4, 4), nn.Conv3d),
    ],
)
def test_where_shapes_differ_a_projection_keeps_the_scale(
    layer: nn.Module, x: Tensor, kind: type[nn.Module]
) -> None:
    model, edit = nn.Sequential(layer), Edit(action="wrap", where=("0",))
    data = {"batch": (x, None), "loss": lambda out, _: out.sum()}
    known = surgery.resolved(model, [edit], **data)
    treated = surgery.apply(model, known)  # without the batch
    projection = treated[0].skip.projection
    assert type(projection) is kind
    assert torch.equal(treated(x), projection(x))
    weight = projection.weight.detach().flatten(1)
    # E |Px|^2 / outputs over |x|^2 / inputs for white x, from the singular values
    scale = weight.square().sum() / weight.shape[0]
    assert float(scale) == pytest.approx(1.0, rel=1e-5)
    assert surgery.rebuild(model, known, treated.state_dict())(x).equal(treated(x))


def test_what_cannot_be_brought_together_is_said() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    with pytest.raises(CannotCut, match="192"):
        surgery.apply(
            nn.Sequential(nn.Identity(), model),
            [Edit(action="wrap", where=("1.0",))],
            batch=(torch.zeros(2, 3, 8, 8), torch.tensor([0, 1])),
            loss=classified,
        )


def test_a_norm_stands_where_it_was_put() -> None:
    model = zoo.seeded(zoo.mlp, nn.Tanh(), nn.Tanh())
    x = zoo.FLAT[0]
    norm = F.layer_norm
    behind = surgery.apply(model, [Edit(action="insert", where=("0",), part=LAYER_NORM)])
    first = norm(model[0](x), (8,))
    assert torch.allclose(behind(x), model[1:](first), atol=1e-6)
    assert list(behind.state_dict())[:4] == ["0.weight", "0.bias", "0.norm.weight", "0.norm.bias"]
    edit = Edit(action="insert", where=("1",), part=LAYER_NORM, options={"before": True})
    before = surgery.apply(model, [edit])
    assert torch.allclose(before(x), behind(x), atol=1e-6)
    assert [type(part) for part in before[1]] == [nn.LayerNorm, nn.Tanh]
    # In order: the second part lies outside of the first.
    scale = Part(type="unvanish.nn.Standardize", arguments={"mean": 1.0, "std": 2.0})
    both = surgery.apply(
        model,
        [
            Edit(action="insert", where=("2",), part=scale),
            Edit(action="insert", where=("2",), part=LAYER_NORM, options={"before": True}),
        ],
    )
    hidden = model[1](model[0](x))
    wanted = model[3:]((model[2](norm(hidden, (8,))) - 1) / 2)
    assert torch.allclose(both(x), wanted, atol=1e-6)


def test_the_fused_path_of_a_transformer_does_not_pass_the_part_by() -> None:
    model = zoo.seeded(zoo.Transformer, False).eval()
    edit = Edit(
        action="insert",
        where=("encoder.layers.0.linear1",),
        part=Part(type="torch.nn.LayerNorm", arguments={"normalized_shape": 16}),
    )
    treated = surgery.apply(model, [edit])
    with torch.no_grad():
        fused = treated(zoo.TOKENS[0])
    assert torch.allclose(fused, treated(zoo.TOKENS[0]), atol=1e-6)  # with grad: the plain path
    assert not torch.allclose(fused, model(zoo.TOKENS[0]), atol=1e-3)
    with pytest.raises(CannotCut, match="never calls"):
        surgery.apply(
            model,
            [
                Edit(
                    action="insert", where=("encoder.layers.0.self_attn.out_proj",), part=LAYER_NORM
                )
            ],
        )


def test_norm_first_is_the_pre_norm_layer_with_the_same_names() -> None:
    model, pre = zoo.seeded(zoo.Transformer, False), zoo.seeded(zoo.Transformer, True)
    places = tuple(f"encoder.layers.{i}" for i in range(2))
    edit = Edit(action="set", where=places, options={"norm_first": True})
    treated = surgery.apply(model, [edit])
    assert list(treated.state_dict()) == list(pre.state_dict())
    assert torch.equal(treated.eval()(zoo.TOKENS[0]), pre.eval()(zoo.TOKENS[0]))


def test_one_instance_at_several_places_is_replaced_everywhere() -> None:
    shared = nn.ReLU()
    model = nn.Sequential(nn.Linear(4, 4), shared, nn.Linear(4, 4), shared)
    model.aside = [shared]  # pyright: ignore[reportArgumentType, reportAttributeAccessIssue]
    part = Part(type="unvanish.nn.TailoredLeakyReLU", arguments={"depth": 30})
    treated = surgery.apply(model, [Edit(action="replace", where=("3",), part=part)])
    assert isinstance(treated[1], TailoredLeakyReLU)
    assert treated[1] is treated[3]
    assert treated.aside[0] is treated[1]  # pyright: ignore[reportIndexIssue]
    assert model[1] is shared


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_new_parts_take_dtype_and_mode_of_their_place(dtype: torch.dtype) -> None:
    model = zoo.seeded(zoo.mlp, nn.ReLU(), nn.ReLU()).to(dtype)
    model[2].eval()
    edits = [
        Edit(action="replace", where=("1",), part=Part(type="torch.nn.PReLU")),
        Edit(action="insert", where=("2",), part=LAYER_NORM),
        Edit(action="wrap", where=("2",)),
    ]
    treated = surgery.apply(model, edits)
    assert {p.dtype for p in treated.parameters()} == {dtype}
    assert treated(zoo.FLAT[0].to(dtype)).dtype == dtype
    assert (treated[2].norm.training, treated[1].training) == (False, True)


def test_ties_hooks_and_marks_stay() -> None:
    model = zoo.seeded(Handwritten)
    model.leave.weight.mark = "mine"  # pyright: ignore[reportAttributeAccessIssue]
    seen: list[int] = []
    model.relu.register_forward_hook(lambda *_: seen.append(1))
    model.blocks[1].register_forward_hook(lambda *_: seen.append(2))
    edits = [
        Edit(action="replace", where=("relu",), part=GELU),
        Edit(action="insert", where=("blocks.1",), part=LAYER_NORM),
        Edit(action="scale", where=("blocks",), options={"factor": 2.0}),
    ]
    treated = surgery.apply(model, edits)
    assert treated.blocks[2].weight is treated.blocks[0].weight
    assert treated.leave.weight.mark == "mine"
    treated(zoo.FLAT[0])
    assert sorted(seen) == [1, 2]
    assert torch.equal(treated.blocks[0].weight, 2 * model.blocks[0].weight)  # tied: once


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_a_gated_net_stands_where_a_simple_one_stood(kind: str, packed: bool) -> None:
    model = zoo.seeded(
        zoo.Recurrent, nn.RNN, packed=packed, num_layers=2, bidirectional=not packed, dropout=0.1
    )
    part = surgery.recurrent_part(model.rnn, kind)
    edits = [
        Edit(action="replace", where=("rnn",), part=part),
        Edit(action="fill", where=("rnn",), options={"gate": "chrono", "steps": 100}),
    ]
    treated = surgery.apply(model, edits, batch=zoo.SERIES, loss=classified)
    rnn = treated.rnn
    assert isinstance(rnn, LSTMLikeRNN if kind == "LSTM" else nn.GRU)
    assert (rnn.num_layers, rnn.batch_first, rnn.dropout) == (2, True, 0.1)
    assert rnn.bidirectional == (not packed)
    assert torch.equal(treated.head.weight, model.head.weight)
    state = torch.randn(2 if packed else 4, 4, 6)
    outputs, last = rnn.eval()(zoo.SERIES[0], state)
    assert last.shape == state.shape
    assert outputs.shape == (4, 7, 6 if packed else 12)
    assert not torch.equal(outputs, rnn(zoo.SERIES[0])[0])  # the given state counts
    for name, bias in rnn.named_parameters():
        if name.startswith("bias_ih"):
            other = dict(rnn.named_parameters())[name.replace("_ih", "_hh")]
            lives = (bias + other)[6:12].exp()
            assert bool((lives >= 1 - 1e-5).all() and (lives <= 99 + 1e-3).all())


def test_the_cell_path_of_the_stand_in_carries_the_gradient() -> None:
    torch.manual_seed(0)
    shares: list[float] = []
    for kind in ("RNN", "LSTM"):
        model: nn.Module = nn.Sequential(nn.RNN(1, 8, batch_first=True))
        edits = [
            Edit(action="replace", where=("0",), part=surgery.recurrent_part(model[0], "LSTM")),
            Edit(action="fill", where=("0",), options={"gate": "chrono", "steps": 60}),
        ]
        model = surgery.apply(model, edits if kind == "LSTM" else [])
        x = torch.randn(4, 60, 1, requires_grad=True)
        model(x)[0][:, -1].sum().backward()
        shares.append(float(x.grad[:, 0].norm() / x.grad[:, -1].norm()))
    assert shares[0] < 1e-6 < 1e-3 < shares[1]


def test_gate_biases_of_the_forget_gate_add_up() -> None:
    model = nn.Sequential(nn.LSTM(3, 4), nn.GRU(4, 5))
    fill = Edit(action="fill", where=("0", "1"), options={"gate": "forget", "value": 1.0})
    treated = surgery.apply(model, [fill])
    lstm, gru = treated[0], treated[1]
    assert torch.equal((lstm.bias_ih_l0 + lstm.bias_hh_l0)[4:8], torch.ones(4))
    assert torch.equal((gru.bias_ih_l0 + gru.bias_hh_l0)[5:10], torch.ones(5))
    assert torch.equal(lstm.bias_ih_l0[:4], model[0].bias_ih_l0[:4])
    with pytest.raises(CannotCut, match="gates"):
        surgery.apply(
            nn.Sequential(nn.RNN(3, 4)), [Edit(action="fill", where=("0",), options=fill.options)]
        )


def test_initial_values_are_those_of_init_and_only_where_asked() -> None:
    from unvanish import init

    model = zoo.seeded(zoo.mlp, nn.ReLU(), nn.ReLU(), nn.ReLU())
    twin = copy.deepcopy(model)
    init.he_(twin, zoo.FLAT, classified, only=("0", "2"), seed=3)
    options = {"method": "he_", "only": "0, 2"}
    data = {"batch": list(zoo.FLAT), "loss": classified, "seed": 3}
    for edit in (
        Edit(action="initialise", options=options),
        Edit(action="initialise", where=("0", "2"), options={"method": "he_"}),
    ):
        assert same_bits(surgery.apply(model, [edit], **data), bits(twin))
    with pytest.raises(BadInput, match="batch"):
        surgery.apply(model, [Edit(action="initialise", options=options)])
    with pytest.raises(BadInput, match="critical_"):
        surgery.apply(model, [Edit(action="initialise", options={"method": "eval"})], **data)


def test_settings_of_modules_and_parameters() -> None:
    model = zoo.seeded(zoo.ResNet)
    model.fc.requires_grad_(False)
    treated = surgery.apply(
        model,
        [
            Edit(action="set", where=("bn",), options={"eps": 0.1, "momentum": None}),
            Edit(action="set", where=("fc.bias", "layer1"), options={"requires_grad": True}),
            Edit(action="set", where=("stem.weight",), options={"requires_grad": False}),
            Edit(action="fill", where=("fc.bias",), options={"value": 0.25}),
        ],
    )
    assert (treated.bn.eps, treated.bn.momentum) == (0.1, None)
    trains = [treated.fc.bias, treated.fc.weight, treated.stem.weight]
    assert [p.requires_grad for p in trains] == [True, False, False]
    assert treated.fc.bias.tolist() == [0.25] * 3
    for name in ("weight", "forward", "nothing", "__class__"):
        with pytest.raises(CannotCut, match="setting"):
            surgery.apply(model, [Edit(action="set", where=("bn",), options={name: 1})])


def _uncopyable() -> nn.Module:
    model = nn.Linear(2, 2)
    model.held = threading.Lock()  # pyright: ignore[reportAttributeAccessIssue]
    return model


@pytest.mark.parametrize(
    ("make", "edit", "said"),
    [
        (_uncopyable, Edit(action="advice"), "cannot be copied"),
        (Handwritten, Edit(action="replace", where=("blocks.9",), part=GELU), "blocks.9"),
        (Handwritten, Edit(action="insert", where=("blocks",), part=LAYER_NORM), "ModuleList"),
        (Handwritten, Edit(action="wrap", where=("blocks.0", "blocks.1")), "no stretch"),
        (
            Handwritten,
            Edit(action="scale", where=("weight",), options={"factor": 2}),
            "enter.weight",
        ),
        (
            Handwritten,
            Edit(action="rewrite", options={"function": "gelu", "by": "relu"}, where=("",)),
            "calls relu",
        ),
        (
            nn.Tanh,
            Edit(action="rewrite", options={"function": "relu", "by": "gelu"}, where=("",)),
            "calls tanh",
        ),
    ],
)
def test_what_cannot_be_cut_is_said(make: Any, edit: Edit, said: str) -> None:
    with pytest.raises(CannotCut, match=said) as met:
        surgery.apply(make(), [edit])
    assert isinstance(met.value, UnvanishError)


def test_a_part_that_does_not_fit_is_said_with_the_patient_as_it_was() -> None:
    model = zoo.seeded(zoo.mlp, nn.ReLU())
    before = bits(model)
    edit = Edit(action="insert", where=("2",), part=LAYER_NORM)
    with pytest.raises(CannotCut, match="does not fit"):
        surgery.apply(model, [edit], batch=zoo.FLAT, loss=classified)
    assert same_bits(model, before)


EVERYTHING = [
    Edit(action="insert", where=("0",), part=LAYER_NORM),
    Edit(action="wrap", where=("2",), options={"kind": "skipinit", "gate_start": 0.3}),
    Edit(action="wrap", where=("1", "2"), options={"kind": "convex"}),
    Edit(
        action="insert",
        where=("",),
        part=Part(type="torch.nn.LayerNorm", arguments={"normalized_shape": 3}),
    ),
]


def test_a_treated_model_is_an_ordinary_one() -> None:
    model = zoo.seeded(zoo.mlp, nn.ReLU(inplace=True), nn.Tanh())
    treated = surgery.apply(model, EVERYTHING, batch=zoo.FLAT, loss=classified)
    x = zoo.FLAT[0]
    y = treated(x)
    file = io.BytesIO()
    torch.save(treated, file)
    file.seek(0)
    twins = [
        copy.deepcopy(treated),
        pickle.loads(pickle.dumps(treated)),
        torch.load(file, weights_only=False),
        surgery.rebuild(model, EVERYTHING, treated.state_dict()),
    ]
    for twin in twins:
        assert torch.equal(twin(x), y)
        assert list(twin.state_dict()) == list(treated.state_dict())
    assert torch.equal(
        torch.func.functional_call(treated, dict(treated.named_parameters()), (x,)), y
    )
    assert isinstance(treated[0], nn.Linear)
    assert (treated[0].in_features, len(treated)) == (4, 5)
    treated.train().eval()
    assert not any(module.training for module in treated.modules())
    assert treated.double()(x.double()).dtype == torch.float64


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning:torch")
def test_a_treated_model_compiles_whole() -> None:
    torch._dynamo.reset()
    model = zoo.seeded(zoo.mlp, nn.ReLU(inplace=True), nn.Tanh())
    treated = surgery.apply(model, EVERYTHING)
    compiled = torch.compile(treated, backend="eager", fullgraph=True)
    assert torch.allclose(compiled(zoo.FLAT[0]), treated(zoo.FLAT[0]))
    written = surgery.apply(
        zoo.seeded(Handwritten),
        [Edit(action="rewrite", where=("",), options={"function": "sigmoid", "by": "silu"})],
    )
    compiled = torch.compile(written, backend="eager", fullgraph=True)
    assert torch.allclose(compiled(zoo.FLAT[0]), written(zoo.FLAT[0]))


def test_the_parts_used_alone() -> None:
    layer = nn.Linear(4, 4)
    x = torch.randn(2, 4)
    plain = layer(x)
    assert extend_(layer, nn.Tanh(), "behind", "weight") == "weight_2"
    assert torch.equal(layer(x), plain.tanh())
    with pytest.raises(BadInput, match="never called"):
        extend_(nn.ModuleList(), nn.Tanh(), "behind", "act")
    net = SkipSequential(nn.Linear(4, 4))
    with pytest.raises(BadInput, match="no stretch"):
        net.add_skip("0", "1", Skip())


def test_a_new_process_makes_the_same_model_from_the_saved_edits(tmp_path: Path) -> None:
    model = zoo.seeded(zoo.ResNet).eval()
    norm = Part(type="torch.nn.GroupNorm", arguments={"num_groups": 1, "num_channels": 4})
    edits = [
        Edit(action="initialise", options={"method": "critical_"}),
        Edit(action="replace", where=("layer1.0.relu",), part=Part(type="torch.nn.PReLU")),
        Edit(action="insert", where=("stem",), part=norm),
        Edit(action="wrap", where=("layer2.0",)),
        Edit(action="wrap", where=("layer1.0", "layer1.1"), options={"kind": "convex"}),
        Edit(
            action="rewrite",
            where=("layer2.1.relu",),
            options={"function": "relu", "by": "elu", "alpha": 0.5},
        ),
        Edit(action="step", options={"clip_norm": 1.0}),
    ]
    data = {"batch": zoo.IMAGES, "loss": classified}
    known = surgery.resolved(model, edits, **data)
    treated = surgery.apply(model, known, **data)
    with torch.no_grad():
        for parameter in treated.parameters():
            parameter.add_(0.01)
    surgery.save(known, tmp_path / "edits.json")
    assert surgery.load(tmp_path / "edits.json") == known
    torch.save(
        {"state": treated.state_dict(), "y": treated(zoo.IMAGES[0]).detach()}, tmp_path / "s"
    )
    code = (
        f"import sys, torch; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import zoo\nfrom unvanish import surgery\n"
        f"edits = surgery.load({str(tmp_path / 'edits.json')!r})\n"
        f"kept = torch.load({str(tmp_path / 's')!r}, weights_only=True)\n"
        "treated = surgery.rebuild(zoo.ResNet().eval(), edits, kept['state'])\n"
        "print(torch.equal(treated(zoo.IMAGES[0]), kept['y']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "True", done.stderr


def test_a_file_that_holds_no_edits_is_said(tmp_path: Path) -> None:
    for text in ("{}", '{"schema": 1, "edits": [{}]}', "x"):
        (tmp_path / "e").write_text(text)
        with pytest.raises(BadInput):
            surgery.load(tmp_path / "e")
    with pytest.raises(BadInput, match="JSON"):
        surgery.save([Edit(action="step", options={"clip_norm": float("nan")})], tmp_path / "e")


class Seq2Seq(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.both = nn.Transformer(8, 2, 1, 1, 16, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.both(self.embed(x), self.embed(x)).mean(1))


@pytest.mark.parametrize(
    ("make", "batch", "cannot"),
    [
        (
            Seq2Seq,
            zoo.TOKENS,
            # tokens go in, attention never calls its output layer
            {
                "",
                "embed",
                "both.encoder.layers.0.self_attn.out_proj",
                "both.decoder.layers.0.self_attn.out_proj",
                "both.decoder.layers.0.multihead_attn.out_proj",
            },
        ),
        (zoo.ResNet, zoo.IMAGES, {""}),
        (zoo.CellLoop, zoo.SERIES, {""}),
        # it reads the last state, which a skip around the outputs does not change
        (lambda: zoo.Recurrent(nn.LSTM, packed=True), zoo.SERIES, {"", "rnn"}),
        (lambda: zoo.Checkpointed(True), zoo.FLAT, set[str]()),
    ],
)
def test_every_module_takes_a_skip_that_learns_or_says_why_not(
    make: Callable[[], nn.Module], batch: Any, cannot: set[str]
) -> None:
    model = zoo.seeded(make)
    refused: set[str] = set()
    for path, module in model.named_modules():
        if isinstance(module, nn.ModuleList):
            continue
        try:
            edit = Edit(action="wrap", where=(path,))
            treated = surgery.apply(model, [edit], batch=batch, loss=classified)
        except CannotCut:
            refused.add(path)
            continue
        classified(treated(batch[0]), batch[1]).backward()
        new = dict(treated.named_parameters()).keys() - dict(model.named_parameters()).keys()
        assert {name.rpartition(".")[2] for name in new} >= {"gate"}
        assert all(treated.get_parameter(name).grad is not None for name in new)
    assert refused == cannot


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_scripted_module_is_refused_in_a_sentence() -> None:
    model = nn.Sequential(torch.jit.trace(nn.Linear(4, 4), zoo.FLAT[0]))
    with pytest.raises(CannotCut):
        surgery.apply(model, [Edit(action="wrap", where=("0",))], batch=zoo.FLAT, loss=classified)


def test_parts_around_a_packed_recurrent_net_work_on_its_steps() -> None:
    model = zoo.seeded(zoo.Recurrent, nn.GRU, packed=True)
    scale = Part(type="unvanish.nn.Standardize", arguments={"mean": 0.0, "std": 0.5})
    edit = Edit(action="insert", where=("rnn",), part=scale, options={"before": True})
    treated = surgery.apply(model, [edit])
    assert torch.allclose(treated(zoo.SERIES[0]), model(2 * zoo.SERIES[0]), atol=1e-6)


def test_a_part_that_the_forward_reads_past_is_noticed() -> None:
    class ReadsWeights(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.unused = nn.Linear(4, 3), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return F.linear(x, self.fc.weight, self.fc.bias)

    part = Part(type="torch.nn.LayerNorm", arguments={"normalized_shape": 3})
    for path, read in (("fc", True), ("unused", False)):
        edit = Edit(action="insert", where=(path,), part=part)
        if read:
            with pytest.raises(CannotCut, match="does not reach the loss"):
                surgery.apply(ReadsWeights(), [edit], batch=zoo.FLAT, loss=classified)
        else:  # a head of another loss: neither reaches this one
            surgery.apply(ReadsWeights(), [edit], batch=zoo.FLAT, loss=classified)


def test_new_parts_go_where_the_model_is() -> None:
    model = zoo.seeded(zoo.mlp, nn.ReLU(), nn.ReLU()).to("meta")
    edits = [
        Edit(action="replace", where=("1",), part=Part(type="torch.nn.PReLU")),
        Edit(action="insert", where=("2",), part=LAYER_NORM),
        Edit(action="wrap", where=("2", "3"), options={"kind": "convex"}),
    ]
    assert {p.device.type for p in surgery.apply(model, edits).parameters()} == {"meta"}


def test_a_treated_net_is_diagnosed_like_any_other() -> None:
    import unvanish

    torch.manual_seed(0)
    layers = [part for _ in range(20) for part in (nn.Linear(16, 16), nn.Sigmoid())]
    model = nn.Sequential(*layers, nn.Linear(16, 4))
    batch = (torch.randn(32, 16), torch.arange(32) % 4)
    assert not unvanish.diagnose(model, batch, classified).healthy
    norm = Part(type="torch.nn.BatchNorm1d", arguments={"num_features": 16})
    places = tuple(str(place) for place in range(0, 40, 2))
    for edits in (
        [Edit(action="insert", where=places, part=norm)],
        [Edit(action="wrap", where=(str(i), str(i + 1))) for i in range(0, 40, 2)],
        [Edit(action="insert", where=places, part=norm), Edit(action="initialise")],
    ):
        treated = surgery.apply(model, edits, batch=batch, loss=classified)
        diagnosis = unvanish.diagnose(treated, batch, classified)
        assert diagnosis.healthy, str(diagnosis)
        assert len(diagnosis.trace.layers) == 21
