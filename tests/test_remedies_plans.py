"""What remedies plan for programs beyond the lessons, held against what is known from elsewhere."""

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from patients_structure import SICK_STRUCTURE
from torch import Tensor, nn
from treated import findings, patient_of, treated

import unvanish
from unvanish.causes.cause import Finding
from unvanish.errors import BadInput
from unvanish.lessons import lesson
from unvanish.lessons.data import clusters, curve, recall
from unvanish.nn import Standardize
from unvanish.remedies import REMEDIES
from unvanish.remedies.clip import usual_norm
from unvanish.remedies.gated_residual import blocks
from unvanish.remedies.ordering import candidates
from unvanish.remedies.remedy import Patient, Plan
from unvanish.surgery import apply
from unvanish.surgery.edits import Edit, Part
from unvanish.treatment.supposed import amiss, supposed

BY_NAME = {remedy.card.name: remedy for remedy in REMEDIES}


def finding(name: str, where: Iterable[str] = (), **evidence: float) -> Finding:
    card = unvanish.explain(name)
    return Finding(
        code=card.code,
        name=name,
        severity="harmful",
        where=tuple(where),
        evidence=evidence,
        remedies=(),
    )


def plans(remedy: str, patient: Patient, of: Finding) -> list[Plan]:
    return list(BY_NAME[remedy].plan(patient, of))


def classifier(*layers: nn.Module, seed: int = 0, **more: Any) -> dict[str, Any]:
    torch.manual_seed(seed)
    model = nn.Sequential(*layers)
    return {"model": model, "data": clusters(seed), "loss": nn.CrossEntropyLoss(), **more}


def deep(activation: type[nn.Module], layers: int) -> list[nn.Module]:
    torch.manual_seed(0)
    made = [m for _ in range(layers) for m in (nn.Linear(64, 64), activation())]
    return [*made, nn.Linear(64, 10)]


# The input and the target


def test_standardize_does_what_numpy_does_and_undoes_it() -> None:
    values = np.random.default_rng(0).normal([1.0, -200.0], [3.0, 50.0], (500, 2))
    mean, std = values.mean(0), values.std(0)
    layer = Standardize(tuple(mean), tuple(std))
    back = Standardize(tuple(mean), tuple(std), undo=True)
    x = torch.tensor(values, dtype=torch.float32)
    np.testing.assert_allclose(layer(x).numpy(), (values - mean) / std, atol=1e-4)
    np.testing.assert_allclose(back(layer(x)).numpy(), values, rtol=1e-4, atol=1e-3)
    images = torch.stack([x[:, 0].view(5, 10, 10), x[:, 1].view(5, 10, 10)], dim=1)
    channels = Standardize(tuple(mean), tuple(std), axis=1)(images)
    np.testing.assert_allclose(channels.mean((0, 2, 3)).numpy(), [0, 0], atol=1e-5)
    assert not list(layer.parameters())
    other = Standardize((0.0, 0.0), (1.0, 1.0))
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(x), layer(x))


@pytest.mark.parametrize(("mean", "std"), [(0.0, 0.0), ((0.0, 1.0), (1.0,)), (0.0, math.nan)])
def test_standardize_refuses_what_cannot_be_divided_by(mean: Any, std: Any) -> None:
    with pytest.raises(BadInput, match="std"):
        Standardize(mean, std)


def test_features_of_different_scale_get_constants_of_their_own() -> None:
    program = classifier(nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 10))
    inputs, labels = program["data"]
    scales = torch.logspace(0, 3, 64)
    inputs = inputs * scales + 7
    inputs[:, 5] = 3.0  # a feature that never changes
    patient = patient_of({**program, "data": (inputs, labels)})
    (edit,) = plans("scale-input", patient, finding("unscaled-input"))[0]
    assert (edit.action, edit.where, edit.options["before"]) == ("insert", ("0",), True)
    assert edit.part is not None
    made = Part.from_json(edit.part.to_json()).build()(inputs)
    expected = (inputs - inputs.mean(0)) / inputs.std(0, correction=0).clamp(min=1e-9)
    expected[:, 5] = 0.0
    torch.testing.assert_close(made, expected, rtol=1e-3, atol=1e-3)


def test_values_of_the_first_layer_are_offered_only_where_the_layer_of_constants_is_not() -> None:
    # The values leave the curvature of the loss as unequal as the inputs are.
    program = classifier(nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 10))
    inputs, labels = program["data"]
    scaled = {**program, "data": (inputs * torch.logspace(0, 3, 64) + 7, labels)}
    patient = patient_of(scaled)
    actions = {
        keep: [c.plan[0].action for c in candidates(patient, keep) if c.remedy == "scale-input"]
        for keep in ("function", "anything")
    }
    assert actions == {"function": ["initialise"], "anything": ["insert"]}


def test_inputs_that_are_standard_are_left_alone() -> None:
    patient = patient_of(classifier(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10)))
    assert plans("scale-input", patient, finding("dead-units")) == []


class Joined(nn.Module):
    """Numbers beside categories, which an embedding looks up."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds, self.body = nn.Embedding(5, 3), nn.Linear(5, 4)

    def forward(self, numbers: Tensor, kinds: Tensor) -> Tensor:
        return self.body(torch.cat([numbers, self.kinds(kinds)], 1))


@pytest.mark.parametrize("loud", [True, False])
def test_numbers_beside_categories_are_scaled_behind_their_join(loud: bool) -> None:
    torch.manual_seed(0)
    numbers = torch.randn(64, 2)
    if loud:
        numbers = numbers * torch.tensor([9000.0, 1.0]) + torch.tensor([50000.0, 0.0])
    data = [((numbers, torch.randint(5, (64,))), torch.randint(4, (64,)))]
    program = {"model": Joined(), "data": data, "loss": nn.CrossEntropyLoss()}
    found = plans("scale-input", patient_of(program), finding("unscaled-input"))
    assert len(found) == 2 * loud
    if loud:
        (edit,) = found[0]
        assert edit.part is not None
        assert edit.where == ("body",)
        mean: Any = edit.part.arguments["mean"]
        assert mean[0] == pytest.approx(50000, rel=0.1)
        assert mean[1:] == (0.0, 0.0, 0.0, 0.0)


def test_constants_are_put_before_a_model_once() -> None:
    far = classifier(nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 10))
    inputs, labels = far["data"]
    far["data"] = (inputs * torch.logspace(0, 3, 64) + 7, labels)
    torch.manual_seed(0)
    numbers = torch.randn(64, 2) * torch.tensor([9000.0, 1.0]) + torch.tensor([50000.0, 0.0])
    both = [((numbers, torch.randint(5, (64,))), torch.randint(4, (64,)))]
    joined = {"model": Joined(), "data": both, "loss": nn.CrossEntropyLoss()}
    for program in (far, joined):
        of = finding("unscaled-input")
        first = plans("scale-input", patient_of(program), of)[0]
        patient = patient_of(treated(program, first))
        assert plans("scale-input", patient, of) == []
        assert "unscaled-input" not in {f.name for f in amiss(patient)}
    assert "unscaled-input" in {f.name for f in amiss(patient_of(far))}


def test_images_are_scaled_by_channel() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    images = torch.randn(32, 2, 8, 8) * torch.tensor([1.0, 90.0]).view(1, 2, 1, 1)
    data = images, torch.randint(3, (32,))
    patient = patient_of({"model": model, "data": data, "loss": nn.CrossEntropyLoss()})
    (edit,) = plans("scale-input", patient, finding("unscaled-input"))[0]
    assert edit.part is not None
    assert edit.part.arguments["axis"] == 1
    assert edit.part.build()(images).std((0, 2, 3)).tolist() == pytest.approx([1, 1], rel=1e-2)


@pytest.mark.parametrize("far", [True, False])
def test_columns_of_targets_get_constants_of_their_own(far: bool) -> None:
    torch.manual_seed(0)
    inputs, targets = torch.randn(64, 5), torch.randn(64, 2)
    if far:
        targets = targets * torch.tensor([2000.0, 30.0]) + torch.tensor([9000.0, 0.0])
    model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 2))
    program = {"model": model, "data": (inputs, targets), "loss": nn.MSELoss()}
    patient = patient_of(program)
    assert any(f.name == "unscaled-target" for f in supposed(patient)) is far
    (edit,) = plans("scale-target", patient, finding("unscaled-target"))[0]
    assert edit.part is not None
    if far:
        torch.testing.assert_close(
            torch.tensor(edit.part.arguments["std"]),
            targets.std(0, correction=0),
            rtol=1e-4,
            atol=0,
        )


def test_target_constants_stand_behind_the_model_and_sgd_is_slowed_by_their_square() -> None:
    program = lesson("unscaled-target").sick()
    model = program["model"]
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    patient = patient_of({**program, "optimizer": optimizer})
    behind, rate = plans("scale-target", patient, finding("unscaled-target"))[0]
    mean, std = program["data"][1].mean().item(), program["data"][1].std(correction=0).item()
    outputs = model(program["data"][0])
    made = apply(model, [behind])(program["data"][0])
    torch.testing.assert_close(made, outputs * std + mean, rtol=1e-4, atol=1.0)
    assert rate.options["lr_factor"] == pytest.approx(std**-2, rel=1e-3)


# The step


@pytest.mark.parametrize(
    ("make", "bound"),
    [(torch.optim.Adam, 0.03 / 40), (torch.optim.SGD, 0.1 / 40)],
    ids=["Adam", "SGD"],
)
def test_a_deep_start_comes_with_the_step_size_of_its_depth(make: Any, bound: float) -> None:
    program = classifier(*deep(nn.ReLU, 40))
    patient = patient_of({**program, "optimizer": make(program["model"].parameters(), lr=0.05)})
    alone, together, *_ = plans("reinitialize", patient, finding("depth-decay", ["0"]))
    assert [edit.action for edit in alone] == ["initialise"]
    assert [edit.action for edit in together] == ["initialise", "optimizer"]
    assert together[1].options["lr"] == pytest.approx(bound)
    slow = patient_of({**program, "optimizer": make(program["model"].parameters(), lr=1e-5)})
    only = plans("reinitialize", slow, finding("depth-decay", ["0"]))
    assert all(edit.action == "initialise" for plan in only for edit in plan)


def test_an_optimizer_factory_is_read_too() -> None:
    program = classifier(*deep(nn.ReLU, 40))
    patient = patient_of(program | {"optimizer": lambda p: torch.optim.Adam(p, 0.05)})
    rates = [
        p[1].options["lr"] for p in plans("reinitialize", patient, finding("depth-decay"))[1:2]
    ]
    assert rates == [pytest.approx(0.03 / 40)]


def test_the_limit_is_the_percentile_of_the_norms_that_autograd_gives() -> None:
    program = classifier(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
    batches = [clusters(seed) for seed in range(4)]
    norms: list[float] = []
    for inputs, labels in batches:
        loss = program["loss"](program["model"](inputs), labels)
        gradients = torch.autograd.grad(loss, list(program["model"].parameters()))
        norms.append(float(torch.cat([g.flatten() for g in gradients]).norm()))
    patient = patient_of({**program, "data": batches})
    assert usual_norm(patient) == pytest.approx(float(np.percentile(norms, 90)), rel=1e-4)
    assert all(p.grad is None for p in program["model"].parameters())
    fixed, rows, _ = plans("clip", patient, finding("time-growth"))
    assert fixed[0].options["clip_norm"] == min(usual_norm(patient), 1.0)
    assert rows[0].options["clip_adaptive_leave"] == "2"


def test_rates_go_down_for_long_steps_and_up_for_short_ones() -> None:
    program = classifier(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
    optimizer = torch.optim.SGD(program["model"].parameters(), 0.1)
    patient = patient_of({**program, "optimizer": optimizer})
    long = finding("step-too-large", better_rate=0.1, update_to_weight=16.0)
    short = finding("step-too-small", better_rate=100.0, update_to_weight=1e-8)
    down = [p[0].options["lr_factor"] for p in plans("step-size", patient, long)]
    up = [p[0].options["lr_factor"] for p in plans("step-size", patient, short)]
    assert down == [0.0006, 0.1, 1 / 3]
    assert up == [100.0, 1e5, 3.0, 10.0]


def test_an_epsilon_and_a_loss_scale_give_adam_the_same_steps() -> None:
    program = lesson("epsilon-dominated").sick()
    patient = patient_of(program)
    (small,) = plans("optimizer-epsilon", patient, finding("epsilon-dominated"))[0]
    (same,), advised = plans("loss-scale", patient, finding("epsilon-dominated"))
    smallest = min(p.gradient_rms or 1.0 for p in patient.diagnosis.trace.parameters)
    assert float(str(small.options["eps"])) <= 0.01 * smallest
    factor = 1e-8 / float(str(same.options["eps"]))
    assert math.log2(factor) == round(math.log2(factor))
    assert f"{factor:g}" in str(advised[0].options["text"])


def test_what_joins_a_group_that_rests_does_not_rest_with_it() -> None:
    program = classifier(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
    program["optimizer"] = torch.optim.SGD(program["model"][0].parameters(), 0.0)
    plan = plans("complete-optimizer", patient_of(program), finding("not-in-optimizer"))[0]
    after = treated(program, plan)
    (group,) = after["optimizer"].param_groups
    assert {id(p) for p in group["params"]} == {id(p) for p in after["model"].parameters()}
    assert group["lr"] > 0


@pytest.mark.parametrize("factory", [False, True])
@pytest.mark.parametrize(("quiet", "usual"), [(1.0, True), (1e-9, False)])
def test_the_usual_epsilon_is_taken_where_it_is_small_enough(
    quiet: float, usual: bool, factory: bool
) -> None:
    program = classifier(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
    loss = program["loss"]
    program["loss"] = lambda outputs, targets: loss(outputs, targets) * quiet

    def make(parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, eps=10.0)

    optimizer = make if factory else make(program["model"].parameters())
    patient = patient_of({**program, "optimizer": optimizer})
    ((edit,),) = plans("optimizer-epsilon", patient, finding("epsilon-dominated"))
    smallest = min(p.gradient_rms or 1.0 for p in patient.diagnosis.trace.parameters)
    taken = float(str(edit.options["eps"]))
    assert taken <= 0.01 * smallest
    assert (taken == 1e-8) is usual  # as torch documents it


@pytest.mark.parametrize("change", [{"maximize": True}, {"lr": -0.1}], ids=str)
def test_an_optimizer_that_goes_up_is_turned_round(change: dict[str, Any]) -> None:
    program = classifier(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
    optimizer = torch.optim.SGD(program["model"].parameters(), 0.1)
    optimizer.param_groups[0].update(change)
    sick = {**program, "optimizer": optimizer, "steps": 5}
    patient = patient_of(sick)
    assert [f.name for f in patient.diagnosis.findings] == ["wrong-sign"]
    assert findings(treated(sick, plans("flip-sign", patient, finding("wrong-sign"))[0])) == {}


def test_under_a_loss_with_the_wrong_sign_an_optimizer_that_goes_up_trains_as_meant() -> None:
    sick: dict[str, Any] = classifier(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
    sick["loss"] = lambda outputs, targets: -F.cross_entropy(outputs, targets)
    sick["optimizer"] = torch.optim.SGD(sick["model"].parameters(), 0.1)
    patient = patient_of(sick)
    assert [f.name for f in patient.diagnosis.findings] == ["wrong-sign"]
    turned, advised = plans("flip-sign", patient, patient.diagnosis.findings[0])
    assert "wrong-sign" not in findings({**treated(sick, turned), "steps": 5})
    assert advised[0].action == "advice"


def test_what_a_note_may_be_the_cause_of_is_treated_by_its_remedies_too() -> None:
    patient = patient_of(lesson("depth-growth").sick())
    growth = replace(finding("depth-growth"), severity="note", remedies=("scale-residual",))
    long = replace(finding("step-too-large"), remedies=("clip",))
    for findings_, names in (((long, growth), {"clip", "scale-residual"}), ((growth,), set())):
        diagnosis = replace(patient.diagnosis, findings=findings_)
        found = candidates(replace(patient, diagnosis=diagnosis))
        assert {c.remedy for c in found if c.level != "advice"} == names


def test_a_group_at_rate_zero_gets_the_rate_of_the_others() -> None:
    program = classifier(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
    first, last = program["model"][0], program["model"][2]
    groups = [{"params": first.parameters(), "lr": 0.0}, {"params": last.parameters()}]
    sick = {**program, "optimizer": torch.optim.SGD(groups, 0.1)}
    patient = patient_of(sick)
    (plan,) = plans("complete-optimizer", patient, finding("not-in-optimizer"))
    made = treated(sick, plan)["optimizer"]
    assert {group["lr"] for group in made.param_groups} == {0.1}


# Activations, norms, skips


class Functional(nn.Module):
    """Its activations are calls; a function is held as an attribute, another written out."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(64, 32), nn.Linear(32, 32)
        self.last = nn.Linear(32, 10)
        self.squash = torch.tanh

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.squash(self.second(F.relu(self.first(x)))))


def test_functions_are_exchanged_where_they_are_called_and_where_they_are_held() -> None:
    torch.manual_seed(0)
    program = {"model": Functional(), "data": clusters(0), "loss": nn.CrossEntropyLoss()}
    patient = patient_of(program)
    second = plans("swap-activation", patient, finding("depth-decay"))[1]
    assert [(e.action, e.where) for e in second[:2]] == [
        ("rewrite", ("",)),
        ("replace", ("squash",)),
    ]
    trace = patient_of({**program, "model": apply(program["model"], second[:2])}).diagnosis.trace
    assert [a.function for a in trace.activations] == ["gelu", "gelu"]


def test_activations_are_tailored_to_the_number_in_a_row() -> None:
    tanh = patient_of(classifier(*deep(nn.Tanh, 12)))
    relu = patient_of(classifier(*deep(nn.ReLU, 12)))
    smooth = plans("tailored-activation", tanh, finding("depth-decay"))[0]
    leaky = plans("tailored-activation", relu, finding("depth-decay"))[0]
    assert len(smooth) == len(leaky) == 13
    assert {e.part.arguments["depth"] for e in smooth[:-1] if e.part} == {12}
    assert {e.part.type for e in leaky[:-1] if e.part} == {"unvanish.nn.TailoredLeakyReLU"}
    net = apply(
        relu.model, leaky, batch=relu.batches[0], loss=relu.loss
    )  # E f^2 = 1 all the way: the published property
    signal = relu.batches[0][0]
    for layer in net[:-1]:  # type: ignore[index]
        signal = layer(signal).detach()
    assert float(signal.square().mean().sqrt()) == pytest.approx(1.0, abs=0.3)


@pytest.mark.parametrize(
    ("count", "kinds"), [(32, ["BatchNorm2d", "GroupNorm"]), (4, ["GroupNorm"])]
)
def test_the_kind_of_norm_follows_shape_and_batch(count: int, kinds: list[str]) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(216, 3))
    data = torch.randn(count, 2, 8, 8), torch.arange(count) % 3
    program = {"model": model, "data": data, "loss": nn.CrossEntropyLoss()}
    patient = patient_of(program)
    made = plans("insert-norm", patient, finding("init-too-small"))
    assert [e[0].part.type.rpartition(".")[2] for e in made[::2] if e[0].part] == kinds
    for plan in made:
        apply(model, plan, batch=data, loss=nn.CrossEntropyLoss())


class Widening(nn.Module):
    """Two calls of one function in one forward, on signals of different width."""

    def __init__(self, normed: bool = False) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(64, 24), nn.Linear(24, 40)
        self.norms = nn.ModuleList([nn.BatchNorm1d(24), nn.BatchNorm1d(40)] if normed else [])
        self.out = nn.Linear(40, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        x = F.relu(self.norms[0](x) if self.norms else x)
        x = self.second(x)
        return self.out(F.relu(self.norms[1](x) if self.norms else x))


def test_each_call_of_a_function_gets_a_norm_of_its_own_width() -> None:
    torch.manual_seed(0)
    program = {"model": Widening(), "data": clusters(0), "loss": nn.CrossEntropyLoss()}
    edits = plans("insert-norm", patient_of(program), finding("depth-decay"))[0]
    widths = [edit.part.arguments["num_features"] for edit in edits if edit.part is not None]
    assert [edit.where for edit in edits] == [("first",), ("second",)]
    assert widths == [24, 40]


@pytest.mark.parametrize("count", [4, 64])
def test_batch_norms_of_few_values_give_way_and_others_stay(count: int) -> None:
    torch.manual_seed(0)
    inputs, labels = clusters(0)
    data = inputs[:count], labels[:count]
    program = {"model": Widening(normed=True), "data": data, "loss": nn.CrossEntropyLoss()}
    found = plans("insert-norm", patient_of(program), finding("depth-decay"))
    if count == 64:
        assert found == []
        return
    assert [(e.action, e.where) for e in found[0]] == [
        ("replace", ("norms.0",)),
        ("replace", ("norms.1",)),
    ]
    assert {e.part.type for e in found[0] if e.part is not None} == {"torch.nn.LayerNorm"}


def test_sequences_get_layer_norm_and_vectors_batch_norm() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 1))
    rows = {"model": model, "data": (torch.randn(32, 7, 5), torch.randn(32, 7, 1))}
    table = {"model": model, "data": (torch.randn(32, 5), torch.randn(32, 1))}
    kinds = [
        [
            e[0].part.type.rpartition(".")[2]
            for e in plans(
                "insert-norm", patient_of({**p, "loss": nn.MSELoss()}), finding("depth-decay")
            )
            if e[0].part
        ][::2]
        for p in (rows, table)
    ]
    assert kinds == [["LayerNorm", "RMSNorm"], ["BatchNorm1d", "LayerNorm"]]


def test_batch_norm_that_makes_the_gradient_grow_is_taken_out() -> None:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for _ in range(80):
        layers += [nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU()]
    program = classifier(*layers, nn.Linear(64, 10))
    patient = patient_of(program)
    grown = next(f for f in patient.diagnosis.findings if f.name == "depth-growth")
    plan = plans("remove-norm", patient, grown)[0]
    assert sum(edit.action == "replace" for edit in plan) == 80
    assert findings(treated(program, plan)) == {}


class Listed(nn.Module):
    """Blocks in a list, between layers of other widths."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Linear(64, 32), nn.Tanh())
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(32, 48), nn.Tanh(), nn.Linear(48, 32)) for _ in range(5)
        )
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def test_skips_go_around_what_keeps_its_shape() -> None:
    torch.manual_seed(0)
    program = {"model": Listed(), "data": clusters(0), "loss": nn.CrossEntropyLoss()}
    patient = patient_of(program)
    assert blocks(patient) == tuple((f"blocks.{i}",) for i in range(5))
    rezero, _ = plans("gated-residual", patient, finding("depth-decay"))
    net = apply(patient.model, rezero, batch=patient.batches[0], loss=patient.loss)
    x = patient.batches[0][0]
    # Closed gates: what is left is the stem and the head.
    expected = patient.model.head(patient.model.stem(x))  # type: ignore[operator]
    torch.testing.assert_close(net(x), expected)


class Normed(Listed):
    """Its norms stand in a list of their own: nothing in it has weights to skip."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm1d(32) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for norm in self.norms:
            x = norm(x)
        return self.head(x)


def test_a_list_without_weights_has_no_blocks() -> None:
    torch.manual_seed(0)
    program = {"model": Normed(), "data": clusters(0), "loss": nn.CrossEntropyLoss()}
    assert blocks(patient_of(program)) == ()


def test_the_output_layer_and_changes_of_width_get_no_skip() -> None:
    layers = [nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10)]
    assert blocks(patient_of(classifier(*layers))) == (("2", "3"),)


def test_residual_branches_are_divided_by_the_root_of_their_number() -> None:
    program = lesson("depth-growth").sick()
    patient = patient_of(program)
    (edit,) = plans("scale-residual", patient, finding("depth-growth"))[0]
    assert edit.options["factor"] == pytest.approx(1 / math.sqrt(80))
    assert set(edit.where) == {
        f"{i}.linear.{name}" for i in range(80) for name in ("weight", "bias")
    }


# Time, wiring


def test_a_plain_cell_gives_way_to_gated_ones_of_its_size() -> None:
    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.head = nn.RNNCell(1, 12), nn.Linear(12, 1)

        def forward(self, x: Tensor) -> Tensor:
            state = x.new_zeros(len(x), 12)
            for t in range(x.shape[1]):
                state = self.cell(x[:, t], state)
            return self.head(state).squeeze(1)

    torch.manual_seed(0)
    program = {"model": Reader(), "data": recall(0, 30), "loss": nn.BCEWithLogitsLoss()}
    patient = patient_of(program)
    made = plans("recurrent-cell", patient, finding("time-decay", ["cell"]))
    for plan in made:
        net = apply(patient.model, plan, batch=patient.batches[0], loss=patient.loss)
        assert isinstance(net.cell, nn.GRUCell)
    assert len(made) == 1
    assert plans("gate-bias", patient, finding("time-decay", ["cell"])) == []


def test_open_gates_last_as_long_as_the_sequence() -> None:
    program = lesson("time-decay").sick()
    patient = patient_of(program)
    chrono, forget = plans("gate-bias", patient, finding("time-decay", ["lstm"]))
    assert chrono[0].options == {"gate": "chrono", "steps": 100}
    net: Any = apply(patient.model, chrono)
    gates = (net.lstm.bias_ih_l0 + net.lstm.bias_hh_l0)[32:64].detach()
    assert float(gates.min()) >= 0
    assert float(gates.max()) <= math.log(99)
    other: Any = apply(patient.model, forget)
    assert set((other.lstm.bias_ih_l0 + other.lstm.bias_hh_l0)[32:64].tolist()) == {1.0}


def test_outputs_without_their_last_dimension_get_it_back() -> None:
    torch.manual_seed(0)
    inputs, targets = curve(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1), nn.Flatten(0))
    program = {"model": model, "data": (inputs, targets), "loss": nn.MSELoss()}
    with pytest.warns(UserWarning, match="target size"):
        patient = patient_of(program)
    named = next(f for f in patient.diagnosis.findings if f.name == "broadcast-loss")
    plan = plans("match-shapes", patient, named)[0]
    assert [edit.action for edit in plan] == ["insert"]
    assert findings(treated(program, plan)) == {}


def test_the_factor_that_wakes_is_the_one_nearer_to_the_data() -> None:
    patient = patient_of(lesson("stuck-saddle").sick())
    named = patient.diagnosis.findings[0]
    first = plans("wake-one-factor", patient, named)[0]
    assert first == (Edit(action="initialise", where=("lora_a",), options={"method": "he_"}),)
    net = apply(patient.model, first, batch=patient.batches[0], loss=patient.loss)
    x = patient.batches[0][0]
    assert torch.equal(net(x), patient.model(x))  # the product is zero still


@pytest.mark.parametrize("name", ["relu gate of zero", "squared gate of zero", "branch of zeros"])
def test_gates_and_branches_of_zeros_wake(name: str) -> None:
    program = SICK_STRUCTURE[name][0](0)
    patient = patient_of(program)
    plan = plans("wake-one-factor", patient, patient.diagnosis.findings[0])[0]
    assert findings(treated(program, plan)) == {}
