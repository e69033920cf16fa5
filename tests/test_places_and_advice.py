"""A finding points where its author has to look, and says what mends just this case of it."""

import copy
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from patients import classify
from patients_exam import Apply
from torch import Tensor, nn
from treated import patient_of

import unvanish
from unvanish.causes.cause import Finding
from unvanish.causes.nonfinite_patterns import too_short
from unvanish.remedies.ordering import candidates
from unvanish.surgery import apply

BELOW = -2.9


def first(program: dict[str, Any], **more: Any) -> Finding:
    return unvanish.diagnose(**program, **more).findings[0]


# --- dead units, by a bias --------------------------------------------------------------------


def start(bias: float, weight: float = 1.0, shift: float = 0.0) -> dict[str, Any]:
    """A regression whose hidden biases all have one value."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1)
    )
    with torch.no_grad():
        for layer in (model[0], model[2]):
            nn.init.constant_(layer.bias, bias)
        model[0].weight *= weight
        if shift:
            model[0].weight.abs_().mul_(-1)
    x = torch.randn(128, 16) + shift
    return {"model": model, "data": (x, torch.sin(x[:, :1]) + x[:, 1:2]), "loss": nn.MSELoss()}


def trained(model: nn.Module, program: dict[str, Any], steps: int = 150) -> tuple[float, float]:
    x, y = program["data"]
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    losses = list[float]()
    for _ in range(steps):
        optimizer.zero_grad()
        loss = program["loss"](model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses[0], losses[-1]


def test_units_that_a_bias_keeps_off_are_woken_by_setting_it_to_zero() -> None:
    program = start(BELOW)
    found = first(program)
    assert found.name == "dead-units"
    assert found.detail is not None
    assert "a bias of -2.9 alone" in found.detail
    assert found.detail.endswith("(0.bias, 2.bias)")
    assert found.remedies[0] == "reinitialize"
    plan = candidates(patient_of(program), "function")[0].plan
    assert [(e.action, e.where, e.options) for e in plan] == [
        ("fill", ("0.bias", "2.bias"), {"value": 0.0})
    ]
    variance = float(program["data"][1].var(correction=0))  # what a constant leaves over
    assert trained(copy.deepcopy(program["model"]), program)[1] >= variance * 0.999
    mended = apply(program["model"], plan)
    before, after = trained(mended, program)
    assert after < min(before, variance) / 4


@pytest.mark.parametrize(
    "program",
    [start(0.1, shift=8.0), start(-0.3, weight=40.0, shift=8.0)],
    ids=["default bias, weights below zero", "small beside what comes in"],
)
def test_a_bias_that_is_not_what_keeps_units_off_is_left_alone(program: dict[str, Any]) -> None:
    found = first(program)
    assert found.name == "dead-units"
    assert found.detail == "no gradient reaches what feeds them"
    plans = [c.plan for c in candidates(patient_of(program), "function")]
    assert not [edit for plan in plans for edit in plan if edit.action == "fill"]


# --- products that no weight holds ------------------------------------------------------------


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.signal, self.gate = nn.Linear(32, 32), nn.Linear(32, 32)
        nn.init.orthogonal_(self.signal.weight)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.signal(x)) * torch.sigmoid(self.gate(x))


def gated() -> dict[str, Any]:
    torch.manual_seed(0)
    model = nn.Sequential(*(Gated() for _ in range(20)), nn.Linear(32, 4))
    labels = torch.arange(256) % 4
    return classify(model, (torch.randn(4, 32)[labels] + torch.randn(256, 32) / 2, labels))


def descended(model: nn.Module, program: dict[str, Any]) -> float:
    x, y = program["data"]
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    loss = torch.zeros(())
    for _ in range(100):
        optimizer.zero_grad()
        loss = program["loss"](model(x), y)
        loss.backward()
        optimizer.step()
    return loss.item()


def test_where_gates_take_the_decades_skips_come_first_and_help() -> None:
    program = gated()
    found = first(program)
    assert found.name == "depth-decay"
    others = ("weight_decades", "activation_decades")
    assert found.evidence["rest_decades"] < sum(found.evidence[name] for name in others) < 0
    assert found.remedies[0] == "gated-residual"
    plans = candidates(patient_of(program), "anything")
    plan = next(c.plan for c in plans if c.remedy == "gated-residual")
    mended = apply(gated()["model"], plan)
    assert descended(program["model"], program) > 0.99 * math.log(4)
    assert descended(mended, program) < 0.1


# --- softmax ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [1, -3, None])
def test_classes_are_counted_along_the_dimension_of_the_softmax(dim: int | None) -> None:
    torch.manual_seed(0)

    def forward(model: Any, x: Tensor) -> Tensor:
        scores = model.conv(x)
        if dim is None:  # written out
            return torch.exp(scores) / torch.exp(scores).sum(1, keepdim=True)
        return scores.softmax(dim)

    model = Apply(forward, conv=nn.Conv2d(1, 3, 3, padding=1))
    data = torch.randn(4, 1, 8, 8), torch.randint(3, (4, 8, 8))
    found = first({"model": model, "data": data, "loss": nn.CrossEntropyLoss()})
    assert (found.name, found.evidence["classes"]) == ("double-softmax", 3.0)


def pooling(dim: int, how: str) -> dict[str, Any]:
    torch.manual_seed(0)

    def pool(model: Any, x: Tensor) -> Tensor:
        h = torch.tanh(model.embed(x))
        weights = torch.softmax(model.score(h), dim=dim)
        if how == "matmul":
            return model.out((weights.transpose(1, 2) @ h).squeeze(1))
        return model.out((weights * h).sum(1))

    parts = {"embed": nn.Linear(6, 16), "score": nn.Linear(16, 1), "out": nn.Linear(16, 3)}
    return classify(Apply(pool, **parts), (torch.randn(32, 10, 6), torch.randint(3, (32,))))


@pytest.mark.parametrize("how", ["sum", "matmul"])
def test_pooling_weights_are_to_be_normalised_over_what_is_summed(how: str) -> None:
    found = first(pooling(-1, how))
    assert (found.name, found.where) == ("single-unit-softmax", ("score",))
    assert found.detail is not None
    assert found.detail.endswith("the dimension that is summed, dim=1.")
    assert found.remedies == ()
    assert "BCEWithLogitsLoss" not in str(unvanish.diagnose(**pooling(-1, how)))
    healthy = unvanish.diagnose(**pooling(1, how))  # what the sentence says
    assert "single-unit-softmax" not in [f.name for f in healthy.findings]


# --- cuts that are no .detach() ---------------------------------------------------------------


def quantised(cut: str) -> dict[str, Any]:
    torch.manual_seed(0)

    def forward(model: Any, x: Tensor) -> Tensor:
        z = model.encoder(x)
        if cut == "argmin":
            return model.decoder(model.codes.weight[torch.cdist(z, model.codes.weight).argmin(1)])
        return model.decoder(z.round() if cut == "round" else z.detach())

    parts = {"encoder": nn.Linear(12, 4), "codes": nn.Embedding(8, 4), "decoder": nn.Linear(4, 12)}
    x = torch.randn(64, 12)
    return {"model": Apply(forward, **parts), "data": (x, x), "loss": nn.MSELoss()}


@pytest.mark.parametrize("cut", ["argmin", "round", "detach"])
def test_a_choice_or_a_rounding_is_not_to_be_taken_out(cut: str) -> None:
    found = next(f for f in unvanish.diagnose(**quantised(cut)).findings if f.name == "detached")
    assert {"encoder.weight", "encoder.bias"} <= set(found.where)
    assert found.detail is not None
    assert found.detail.startswith(cut)
    assert ("straight-through" in found.detail) == (cut != "detach")
    assert found.remedies == (("rewire",) if cut == "detach" else ())


# --- where NaN and Inf are made ---------------------------------------------------------------


def likelihood(made_by: str) -> dict[str, Any]:
    """Logarithms and roots of zero, in the loss and in the model."""
    torch.manual_seed(0)

    def forward(model: Any, x: Tensor) -> Tensor:
        out = model.body(x)
        if made_by == "log in the model":
            return torch.log(torch.relu(out))
        return torch.sqrt(out - out) + out if made_by == "sqrt in the model" else out

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        if made_by == "log in the loss":
            return -(outputs * targets.log()).mean()
        apart = ((outputs[:, None] - outputs[None]) ** 2).sum(-1)
        return apart.sqrt().mean() if made_by == "sqrt in the loss" else outputs.mean()

    x = torch.randn(16, 6)
    model = Apply(forward, body=nn.Linear(6, 4))
    return {"model": model, "data": (x, torch.zeros(16, 4)), "loss": loss}


@pytest.mark.parametrize("function", ["log", "sqrt"])
@pytest.mark.parametrize("place", ["loss", "model"])
def test_what_the_loss_makes_is_said_to_be_in_the_loss(function: str, place: str) -> None:
    found = first(likelihood(f"{function} in the {place}"))
    assert found.name == ("nonfinite-forward" if function == "log" else "nonfinite-backward")
    assert found.where[0] == ("loss" if place == "loss" else "(model)")


def test_what_is_made_for_the_model_to_read_is_not_in_the_loss() -> None:
    program = likelihood("neither")

    def forward(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return model(torch.zeros_like(batch[0]).log()).mean()

    found = first({"model": program["model"], "data": program["data"], "forward": forward})
    assert (found.name, found.where[0]) == ("nonfinite-forward", "(model)")


# --- CTC --------------------------------------------------------------------------------------


def spelling(length: int, targets: Tensor, zero_infinity: bool = False) -> dict[str, Any]:
    torch.manual_seed(0)
    inputs = torch.randn(len(targets), length, 5)
    model = nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, 4), nn.LogSoftmax(-1))

    def loss(outputs: Tensor, wanted: Tensor) -> Tensor:
        lengths = torch.full((len(outputs),), length), torch.full((len(outputs),), wanted.shape[1])
        read = outputs.transpose(0, 1)
        return F.ctc_loss(read, wanted, *lengths, zero_infinity=zero_infinity)

    return {"model": model, "data": (inputs, targets), "loss": loss}


APART, ALIKE = torch.tensor([[1, 2, 3]] * 8), torch.tensor([[1, 1, 1]] * 8)


@pytest.mark.parametrize(("targets", "needed"), [(APART, 3), (ALIKE, 5)], ids=["apart", "alike"])
def test_an_input_too_short_for_its_target_is_said_to_be(targets: Tensor, needed: int) -> None:
    short, enough = spelling(needed - 1, targets), spelling(needed, targets)
    for program, infinite in ((short, True), (enough, False)):  # by torch itself
        loss = program["loss"](program["model"](program["data"][0]), program["data"][1])
        assert math.isinf(loss.item()) == infinite
    found = first(short)
    assert (found.name, found.where) == ("nonfinite-forward", ("loss",))
    assert found.detail is not None
    assert "shorter than its target needs" in found.detail
    assert found.remedies == ()
    for program in (enough, spelling(needed - 1, targets, zero_infinity=True)):
        assert "nonfinite-forward" not in [f.name for f in unvanish.diagnose(**program).findings]


def test_an_infinity_that_came_with_the_scores_is_another_matter() -> None:
    trace = unvanish.observe(**spelling(2, APART))
    bad = next(one for one in trace.nonfinite if one.phase == "forward")
    assert too_short(bad)
    assert not too_short(replace(bad, input_min=-math.inf))  # a label that cannot be
    assert not too_short(replace(bad, kind="nan"))
    assert not too_short(replace(bad, operation="log"))
