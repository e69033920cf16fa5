"""The optimizer over a treated model, and what a step does besides: against calculations by hand."""

import copy
from typing import Any

import pytest
import torch
import zoo
from torch import Tensor, nn
from torch.nn import functional as F

from unvanish import surgery
from unvanish.errors import BadInput
from unvanish.surgery import CannotCut, Edit, Part, carried
from unvanish.surgery.controls import Controls

NORM = Part(type="torch.nn.LayerNorm", arguments={"normalized_shape": 8})


def trained(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 3) -> None:
    for _ in range(steps):

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(zoo.FLAT[0]), zoo.FLAT[1])
            loss.backward()
            return loss

        optimizer.step(closure)  # pyright: ignore[reportArgumentType]


def two_groups(model: nn.Module) -> list[dict[str, Any]]:
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    return [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]


def names_of(optimizer: torch.optim.Optimizer, model: nn.Module) -> list[set[str]]:
    named = {id(p): name for name, p in model.named_parameters()}
    return [{named[id(p)] for p in group["params"]} for group in optimizer.param_groups]


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.SGD, torch.optim.LBFGS])
def test_without_surgery_training_goes_on_bit_for_bit(kind: type[Any]) -> None:
    model = zoo.seeded(zoo.mlp, nn.Tanh())
    more = {"momentum": 0.9} if kind is torch.optim.SGD else {}
    optimizer = kind(model.parameters(), lr=0.05, **more)
    trained(model, optimizer)
    treated = surgery.apply(model, [])
    mine = carried(optimizer, model, treated)
    trained(treated, mine)
    trained(model, optimizer)
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), treated.parameters(), strict=True)
    )


def test_state_goes_along_where_values_do_and_new_ones_join_their_kind() -> None:
    model = zoo.seeded(zoo.mlp, nn.Tanh(), nn.Tanh())
    optimizer = torch.optim.AdamW(two_groups(model), lr=0.01)
    trained(model, optimizer)
    before = copy.deepcopy(optimizer.state_dict())
    edits = [
        Edit(action="insert", where=("2",), part=NORM),
        Edit(action="wrap", where=("2",)),
        Edit(action="scale", where=("4.weight",), options={"factor": 2.0}),
        Edit(
            action="replace",
            where=("0",),
            part=Part(
                type="torch.nn.Linear",
                arguments={"in_features": 4, "out_features": 8, "bias": False},
            ),
        ),
    ]
    treated = surgery.apply(model, edits)
    made = carried(optimizer, model, treated, edits)
    assert names_of(made, treated) == [
        {"0.weight", "2.weight", "4.weight"},
        {"2.bias", "4.bias", "2.norm.weight", "2.norm.bias", "2.skip.gate"},
    ]
    assert [group["weight_decay"] for group in made.param_groups] == [0.1, 0.0]
    assert "exp_avg" in made.state[treated[2].weight]
    moment = made.state[treated[2].weight]["exp_avg"]
    assert torch.equal(moment, optimizer.state[model[2].weight]["exp_avg"])
    assert moment is not optimizer.state[model[2].weight]["exp_avg"]
    assert treated[4].weight not in made.state  # other values: its moments say nothing any more
    assert not {id(p) for p in made.state} - {id(p) for p in treated.parameters()}
    trained(treated, made)
    now = optimizer.state_dict()
    for place, state in before["state"].items():
        assert all(torch.equal(state[name], now["state"][place][name]) for name in state)
    assert now["param_groups"] == before["param_groups"]


def test_another_shape_takes_the_place_of_the_old_one() -> None:
    model = zoo.seeded(zoo.Recurrent, nn.RNN)
    rnn = {"params": list(model.rnn.parameters()), "lr": 0.5}
    optimizer = torch.optim.SGD([{"params": list(model.head.parameters())}, rnn], lr=0.1)
    edit = Edit(action="replace", where=("rnn",), part=surgery.recurrent_part(model.rnn, "GRU"))
    treated = surgery.apply(model, [edit])
    made = carried(optimizer, model, treated)
    wanted = [{"head.weight", "head.bias"}, {f"rnn.{n}" for n, _ in treated.rnn.named_parameters()}]
    assert names_of(made, treated) == wanted
    assert [group["lr"] for group in made.param_groups] == [0.1, 0.5]


def test_options_and_missing_parameters() -> None:
    model = zoo.seeded(zoo.mlp, nn.Tanh())
    optimizer = torch.optim.Adam(model[0].parameters(), lr=0.01)
    edits = [
        Edit(action="optimizer", options={"lr_factor": 0.5, "eps": 1e-6, "beta2": 0.95}),
        Edit(action="optimizer", where=("2",)),
        Edit(action="optimizer", where=("2.bias",), options={"lr": 1.0, "weight_decay": 0.1}),
    ]
    treated = surgery.apply(model, edits)
    assert names_of(carried(optimizer, model, treated), treated) == [{"0.weight", "0.bias"}]
    made = carried(optimizer, model, treated, edits)
    assert names_of(made, treated) == [{"0.weight", "0.bias", "2.weight"}, {"2.bias"}]
    first, second = made.param_groups
    assert (first["lr"], first["eps"], first["betas"], first["weight_decay"]) == (
        0.005,
        1e-6,
        (0.9, 0.95),
        0,
    )
    assert (second["lr"], second["eps"], second["weight_decay"]) == (1.0, 1e-6, 0.1)
    assert optimizer.param_groups[0]["lr"] == 0.01
    trained(treated, made)
    for wrong in (
        Edit(action="optimizer", options={"momentum": 0.5}),
        Edit(action="optimizer", options={"params": 1}),
    ):
        with pytest.raises(BadInput, match="has no option"):
            carried(optimizer, model, treated, [wrong])
    with pytest.raises(CannotCut, match="no parameter"):
        carried(optimizer, model, treated, [Edit(action="optimizer", where=("9",))])


def test_factories_none_and_frozen_parameters() -> None:
    model = zoo.seeded(zoo.mlp, nn.Tanh())
    model[0].requires_grad_(False)
    thaw = Edit(action="set", where=("0",), options={"requires_grad": True})
    treated = surgery.apply(model, [thaw])
    made = carried(lambda p: torch.optim.SGD(p, lr=0.1), model, treated)
    assert names_of(made, treated) == [{"0.weight", "0.bias", "2.weight", "2.bias"}]
    assert type(carried(None, model, treated)) is torch.optim.Adam
    with pytest.raises(BadInput, match="optimizer"):
        carried(3, model, treated)  # pyright: ignore[reportArgumentType]


def model_with(*gradients: list[Any]) -> tuple[nn.Module, torch.optim.Optimizer]:
    model = nn.Module()
    for place, gradient in enumerate(gradients):
        value = nn.Parameter(torch.ones_like(torch.tensor(gradient)))
        value.grad = torch.tensor(gradient)
        model.register_parameter(f"p{place}", value)
    return model, torch.optim.SGD(model.parameters(), lr=0.4)


def gradients(model: nn.Module) -> list[Any]:
    return [p.grad.tolist() for p in model.parameters() if p.grad is not None]


def controls(**options: Any) -> Controls:
    return Controls.from_edits([Edit(action="step", options=options), Edit(action="advice")])


def test_the_global_norm_is_brought_down_and_never_up() -> None:
    model, optimizer = model_with([3.0], [4.0])
    assert controls(clip_norm=2.5).before_step(model, optimizer, 0)
    assert gradients(model) == [[1.5], [2.0]]
    controls(clip_norm=100.0).before_step(model, optimizer, 1)
    assert gradients(model) == [[1.5], [2.0]]


def test_adaptive_clipping_is_a_share_of_each_rows_weight_norm() -> None:
    # Rows of the weight have the norm 2; 0.01 of it is 0.02.
    model, optimizer = model_with([[3.0, 4.0, 0.0, 0.0], [0.01, 0.0, 0.0, 0.0]], [6.0, 8.0])
    controls(clip_adaptive=0.01).before_step(model, optimizer, 0)
    (first, second), vector = gradients(model)
    assert first == pytest.approx([0.012, 0.016, 0, 0])
    assert second == pytest.approx([0.01, 0, 0, 0])
    assert vector == pytest.approx([0.6 * 0.01 * 2**0.5, 0.8 * 0.01 * 2**0.5])
    # Weights that are zero count as 1e-3 (eps of the paper); what is left alone stays.
    model, optimizer = model_with([[3.0, 4.0]], [[3.0, 4.0]])
    torch.nn.init.zeros_(model.p0)
    controls(clip_adaptive=0.1, clip_adaptive_leave="p1, other").before_step(model, optimizer, 0)
    assert gradients(model)[0][0] == pytest.approx([0.6e-4, 0.8e-4])
    assert gradients(model)[1] == [[3.0, 4.0]]


def test_adaptive_clipping_of_a_kernel_goes_by_output_channel() -> None:
    conv = nn.Conv2d(2, 3, 2)
    conv.weight.grad = torch.randn_like(conv.weight) * torch.tensor([100.0, 1e-6, 1.0]).reshape(
        3, 1, 1, 1
    )
    before = conv.weight.grad.clone()
    controls(clip_adaptive=0.02).before_step(conv, torch.optim.SGD(conv.parameters(), lr=1.0), 0)
    for channel in range(3):
        most = 0.02 * float(conv.weight[channel].detach().norm())
        norm = float(before[channel].norm())
        wanted = before[channel] * min(1.0, most / norm)
        assert torch.allclose(conv.weight.grad[channel], wanted, rtol=1e-5)


def test_the_percentile_is_over_all_norms_so_far() -> None:
    model, optimizer = model_with([1.0])
    made = controls(clip_percentile=50)
    found: list[float] = []
    for norm in (4.0, 2.0, 8.0, 1.0):
        model.p0.grad = torch.tensor([norm])
        made(model, optimizer)
        found.append(float(model.p0.grad))
    # medians of 4; 4 2; 4 2 8; 4 2 8 1
    assert found == [4.0, 2.0, 4.0, 1.0]
    assert made.norms == [4.0, 2.0, 8.0, 1.0]


def test_rates_rise_in_equal_parts_and_follow_a_schedule() -> None:
    model, optimizer = model_with([1.0])
    made = controls(warm_up=4)
    rates: list[float] = []
    for step in range(6):
        if step == 5:
            optimizer.param_groups[0]["lr"] = 0.1  # a schedule of somebody else
        made.before_step(model, optimizer, step)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.1])


def test_a_scaled_loss_is_unscaled_before_clipping_and_overflow_is_left_out() -> None:
    model = zoo.seeded(zoo.mlp, nn.Tanh())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    twin = copy.deepcopy(model)
    made = controls(loss_scale=1024.0, clip_norm=1e-3, zero_grad=True)
    for net, step in ((model, True), (twin, False)):
        loss = F.cross_entropy(net(zoo.FLAT[0]), zoo.FLAT[1])
        (made.before_backward(loss, optimizer) if step else loss).backward()
    assert made.before_step(model, optimizer, 0)
    nn.utils.clip_grad_norm_(twin.parameters(), 1e-3)
    for mine, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(mine.grad, theirs.grad, rtol=1e-4)
    loss = F.cross_entropy(model(zoo.FLAT[0]), zoo.FLAT[1])
    made.before_backward(loss, optimizer)
    assert all(p.grad is None for p in model.parameters())
    model[0].weight.grad = torch.full_like(model[0].weight, float("inf"))
    assert not made.before_step(model, optimizer, 1)
    # Where the loop did not scale the loss, nothing is divided.
    model[0].weight.grad = torch.full_like(model[0].weight, 1e-6)
    assert made.before_step(model, optimizer, 2)
    assert float(model[0].weight.grad[0, 0]) == pytest.approx(1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {"clip": 1.0},
        {"clip_norm": 0},
        {"clip_norm": True},
        {"clip_percentile": 101},
        {"warm_up": float("inf")},
    ],
)
def test_impossible_controls_are_said(options: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        controls(**options)


def test_no_edits_are_no_controls() -> None:
    model, optimizer = model_with([3.0])
    assert Controls.from_edits([])(model, optimizer)
    assert gradients(model) == [[3.0]]
    assert optimizer.param_groups[0]["lr"] == 0.4
