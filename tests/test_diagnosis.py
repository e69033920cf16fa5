"""The right name first on sick programs, silence on healthy ones, whatever the scale."""

import copy
import dataclasses
import json
from typing import Any

import pytest
import torch
from patients import HEALTHY, SICK, blobs, classify, deep_sigmoid, he, he_residual, plain
from torch import Tensor, nn

import unvanish
from unvanish.causes import CAUSES
from unvanish.causes.cause import Case, Cause, Finding, found
from unvanish.errors import BadInput

SEEDS = (0, 1)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", SICK)
def test_sick_program_gets_its_own_name_first(name: str, seed: int) -> None:
    patient, expected, place = SICK[name]
    diagnosis = unvanish.diagnose(**patient(seed))
    assert not diagnosis.healthy
    first = diagnosis.findings[0]
    assert first.name == expected, [f.name for f in diagnosis.findings]
    assert any(place in where for where in first.where), first.where
    assert first.because is None


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_program_gets_no_alarm(name: str, seed: int) -> None:
    diagnosis = unvanish.diagnose(**HEALTHY[name](seed))
    assert diagnosis.healthy, [(f.name, f.where) for f in diagnosis.findings]


def test_sigmoid_account_is_the_textbooks() -> None:
    program = deep_sigmoid(0)
    first = unvanish.diagnose(**program).findings[0]
    # log10(1/4) = -0.602 is the bound; at torch's initialisation units sit close to zero.
    assert -0.66 < first.evidence["activation_decades_per_layer"] < -0.60
    split = sum(
        first.evidence[f"{role}_decades"]
        for role in ("activation", "weight", "norm", "residual", "rest")
    )
    assert split == pytest.approx(-first.evidence["decades"], rel=1e-9)


class Wrapped(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.somewhere_else = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.somewhere_else(x)


def scaled(program: dict[str, Any], factor: float) -> dict[str, Any]:
    loss = program["loss"]
    return {**program, "loss": lambda outputs, targets: factor * loss(outputs, targets)}


def doubled(program: dict[str, Any]) -> dict[str, Any]:
    inputs, targets = program["data"]
    return {**program, "data": (torch.cat([inputs, inputs]), torch.cat([targets, targets]))}


def wrapped(program: dict[str, Any]) -> dict[str, Any]:
    return {**program, "model": Wrapped(program["model"])}


def in_float64(program: dict[str, Any]) -> dict[str, Any]:
    inputs, targets = program["data"]
    return {**program, "model": program["model"].double(), "data": (inputs.double(), targets)}


def in_place(program: dict[str, Any]) -> dict[str, Any]:
    for module in program["model"].modules():
        if isinstance(module, nn.ReLU):
            module.inplace = True
    return program


CHANGES = {
    "loss x 1e-6": lambda p: scaled(p, 1e-6),
    "loss x 1e6": lambda p: scaled(p, 1e6),
    "batch doubled": doubled,
    "wrapped": wrapped,
    "float64": in_float64,
    "in place": in_place,
}
INVARIANT = (
    "deep sigmoid",
    "deep relu, torch's initialisation",
    "tanh, std 1",
    "relu, three times He",
    "batch norm tower",
    "tanh on unscaled inputs",
    "dead layer",
    "zero weights",
    "rnn over 100 steps",
    "detach in the middle",
)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", INVARIANT)
def test_verdict_does_not_depend_on_scale_or_form(name: str, change: str) -> None:
    patient = SICK[name][0]
    before = unvanish.diagnose(**patient(0))
    after = unvanish.diagnose(**CHANGES[change](patient(0)))
    assert [(f.name, f.severity) for f in after.findings] == [
        (f.name, f.severity) for f in before.findings
    ]


@pytest.mark.parametrize("change", CHANGES)
def test_silence_does_not_depend_on_scale_or_form(change: str) -> None:
    for patient in (he_residual, HEALTHY["resnet"], HEALTHY["kaiming relu"], HEALTHY["converged"]):
        assert unvanish.diagnose(**CHANGES[change](patient(0))).healthy


def test_parameter_names_do_not_matter() -> None:
    model = plain(20, nn.Sigmoid)
    renamed = nn.Sequential()
    for position, module in enumerate(model):
        renamed.add_module(f"zz_{97 - position}", module)
    names = [
        [f.name for f in unvanish.diagnose(net, blobs(0), nn.CrossEntropyLoss()).findings]
        for net in (model, renamed)
    ]
    assert names[0] == names[1] == ["depth-decay"]


def test_trace_alone_gives_the_same_findings() -> None:
    program = deep_sigmoid(0)
    trace = unvanish.observe(**program)
    assert unvanish.diagnose(trace).findings == unvanish.diagnose(**program).findings


def test_saved_and_loaded_is_equal(tmp_path: Any) -> None:
    for name in ("deep sigmoid", "root of zero", "detach in the middle"):
        diagnosis = unvanish.diagnose(**SICK[name][0](0))
        diagnosis.save(tmp_path / "diagnosis.json")
        assert unvanish.Diagnosis.load(tmp_path / "diagnosis.json") == diagnosis
        data = json.loads((tmp_path / "diagnosis.json").read_text())
        assert {"healthy", "findings", "expected", "blind_spots"} <= set(data)
        wanted = {"code", "name", "severity", "where", "evidence", "remedies"}
        assert wanted <= set(data["findings"][0])


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"findings": 3}', '{"findings": [{"code": 1}]}']
)
def test_loading_something_else_is_one_sentence(tmp_path: Any, content: str) -> None:
    (tmp_path / "other.json").write_text(content)
    with pytest.raises(BadInput):
        unvanish.Diagnosis.load(tmp_path / "other.json")


def test_cause_can_be_added_by_argument() -> None:
    card = dataclasses.replace(CAUSES[0].card, code="XX001", name="always", says="always met")

    def find(case: Case) -> list[Finding]:
        return [found(card, "note", ["everywhere"], {})]

    mine = Cause(card=card, find=find)
    diagnosis = unvanish.diagnose(**HEALTHY["kaiming relu"](0), causes=(*CAUSES, mine))
    assert [f.name for f in diagnosis.findings] == ["always"]
    assert diagnosis.healthy


def test_cause_that_raises_is_a_blind_spot_not_a_crash() -> None:
    def find(case: Case) -> list[Finding]:
        raise ZeroDivisionError("oops")

    mine = Cause(card=CAUSES[0].card, find=find)
    diagnosis = unvanish.diagnose(**HEALTHY["kaiming relu"](0), causes=(mine,))
    assert any("oops" in spot for spot in diagnosis.blind_spots)


def test_expected_look_alikes_say_why() -> None:
    diagnosis = unvanish.diagnose(**HEALTHY["head not in the loss"](0))
    (expected,) = [e for e in diagnosis.expected if e.name == "head-not-in-this-loss"]
    assert expected.where == ("other.weight", "other.bias")
    assert expected.because
    assert expected.unless


def test_user_model_and_optimizer_are_not_stepped() -> None:
    program = SICK["zero weights"][0](0)
    model = program["model"]
    optimizer = torch.optim.Adam(model.parameters(), 0.1)
    before = copy.deepcopy(model.state_dict()), copy.deepcopy(optimizer.state_dict())
    unvanish.diagnose(**program, optimizer=optimizer, steps=3)
    after = model.state_dict(), optimizer.state_dict()
    assert str(before[1]) == str(after[1])
    assert all(torch.equal(before[0][name], after[0][name]) for name in before[0])
    assert all(p.grad is None for p in model.parameters())


def test_iterator_is_read_once() -> None:
    batches = iter([blobs(seed) for seed in range(10)])
    diagnosis = unvanish.diagnose(plain(4, nn.ReLU, he()), batches, nn.CrossEntropyLoss())
    assert diagnosis.trace.conditions.batches == 4
    assert next(batches) is not None


@pytest.mark.parametrize("steps", [-1, 1.5, "3"])
def test_bad_steps_are_refused(steps: Any) -> None:
    with pytest.raises(BadInput, match="steps"):
        unvanish.diagnose(plain(1, nn.ReLU), blobs(0), nn.CrossEntropyLoss(), steps=steps)


def test_bad_optimizer_is_refused() -> None:
    with pytest.raises(BadInput, match="optimizer"):
        unvanish.diagnose(plain(1, nn.ReLU), blobs(0), nn.CrossEntropyLoss(), optimizer=3)  # type: ignore[arg-type]


def test_too_little_seen_is_said() -> None:
    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, x: Tensor) -> Tensor:
            return x * self.scale

    program = classify(Scale(), blobs(0, features=4))
    diagnosis = unvanish.diagnose(**program)
    assert diagnosis.blind_spots
    assert "too little" in str(diagnosis)
