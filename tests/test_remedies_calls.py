"""Remedies that exchange one call in a forward: which of its calls is meant, and when none can be."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from treated import findings, patient_of, treated

from unvanish.lessons.data import clusters
from unvanish.remedies.chart import hidden_activations
from unvanish.remedies.ordering import candidates
from unvanish.surgery import apply
from unvanish.surgery.describe import describe
from unvanish.surgery.edits import Edit, Part
from unvanish.treatment.supposed import left_to_author
from unvanish.trial.arm import copied_model


class Scored(nn.Module):
    """Weighs its inputs by a softmax, and ends in another one in front of the cross entropy."""

    def __init__(self) -> None:
        super().__init__()
        self.shares, self.hidden = nn.Linear(64, 64), nn.Linear(64, 32)
        self.out = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = x * F.softmax(self.shares(x), dim=1)
        return self.out(torch.relu(self.hidden(x))).softmax(-1)


class Looped(nn.Module):
    """One call in the source, many in a run, the last of them in front of the loss."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(64, 10), nn.Linear(10, 10)])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x).softmax(dim=1)
        return x


class Between(nn.Module):
    """A softmax where an activation should stand; with attention, in another place of the forward."""

    def __init__(self, attends: bool) -> None:
        super().__init__()
        self.attends = attends
        self.layers = nn.ModuleList([nn.Linear(64, 32), nn.Linear(32, 32)])
        self.out = nn.Linear(32, 10)

    def forward(this, x: Tensor) -> Tensor:  # noqa: N805  # pyright: ignore[reportSelfClsParameterName]
        for layer in this.layers:
            x = F.softmax(layer(x), dim=1)
        if this.attends:
            x = x * torch.softmax(x, 1)
        return this.out(x)


class Cut(nn.Module):
    def __init__(self, calls: int) -> None:
        super().__init__()
        self.calls = calls
        self.first, self.head = nn.Linear(64, 32), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        state = self.first(x)
        for _ in range(self.calls):
            state = state.detach()
        return self.head(state)


class CutTwice(Cut):
    """Two calls in the source: one of them may be meant."""

    def forward(self, x: Tensor) -> Tensor:
        state = self.first(x.detach())
        return self.head(state.detach())


class Siamese(nn.Module):
    """Both of two views through one helper, which detaches."""

    def __init__(self) -> None:
        super().__init__()
        self.tower, self.head = nn.Linear(32, 16), nn.Linear(16, 10)

    def features(self, view: Tensor) -> Tensor:
        return torch.relu(self.embed(view))

    def embed(self, view: Tensor) -> Tensor:
        return self.tower(view).detach()

    def forward(self, x: Tensor) -> Tensor:
        left, right = x.chunk(2, 1)
        return self.head(self.features(left) - self.features(right))


class SiameseTwice(Siamese):
    def again(self, view: Tensor) -> Tensor:
        return view.tanh().detach()

    def features(self, view: Tensor) -> Tensor:
        return self.again(self.embed(view))


class Helped(nn.Module):
    """The last function of a classifier in a helper."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.out = nn.Linear(64, 32), nn.Linear(32, 10)

    def shares(self, x: Tensor) -> Tensor:
        return F.softmax(self.out(x), dim=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.shares(torch.relu(self.first(x)))


def program(make: Any, *given: Any) -> dict[str, Any]:
    torch.manual_seed(0)
    return {"model": make(*given), "data": clusters(0), "loss": nn.CrossEntropyLoss()}


def planned(made: dict[str, Any], remedy: str) -> list[tuple[Edit, ...]]:
    found = candidates(patient_of(made), "anything")
    return [c.plan for c in found if c.remedy == remedy and c.level != "advice"]


def test_only_the_softmax_in_front_of_the_loss_is_left_out() -> None:
    made = program(Scored)
    (plan,) = planned(made, "drop-softmax")
    assert plan[0].options["nth"] == 1
    after = treated(made, plan)
    assert "double-softmax" not in findings(after)
    inputs, _ = made["data"]
    torch.testing.assert_close(after["model"](inputs).softmax(-1), made["model"](inputs))
    assert describe(plan[0]) == "in the model, leave softmax out"


def test_a_call_that_runs_at_several_places_is_left_to_its_author() -> None:
    assert planned(program(Looped), "drop-softmax") == []


@pytest.mark.parametrize(("attends", "count"), [(False, 2), (True, 0)])
def test_a_softmax_between_layers_is_exchanged_where_all_calls_stand_so(
    attends: bool, count: int
) -> None:
    patient = patient_of(program(Between, attends))
    found = [a for a in hidden_activations(patient) if a.function == "softmax"]
    assert len(found) == count


class Pooled(nn.Module):
    """A softmax of convolutions, pooled and flattened on its way to a layer or into a product."""

    def __init__(self, weighs: bool) -> None:
        super().__init__()
        self.weighs = weighs
        self.conv, self.pool, self.head = nn.Conv2d(1, 4, 3), nn.MaxPool2d(2), nn.Linear(36, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x.unflatten(1, (1, 8, 8)))
        shares = self.pool(F.softmax(x, dim=1))
        return self.head((shares * self.pool(x) if self.weighs else shares).flatten(1))


@pytest.mark.parametrize(("weighs", "count"), [(False, 1), (True, 0)])
def test_pooling_and_reshaping_stand_between_a_softmax_and_the_layer_that_reads_it(
    weighs: bool, count: int
) -> None:
    patient = patient_of(program(Pooled, weighs))
    found = [a for a in hidden_activations(patient) if a.function == "softmax"]
    assert len(found) == count


def test_a_part_finds_the_model_by_whatever_name_the_forward_has_for_it() -> None:
    edit = Edit(
        action="rewrite",
        where=("",),
        part=Part(type="torch.nn.PReLU"),
        options={"function": "softmax"},
    )
    made = program(Between, False)
    after = treated(made, [edit])
    assert [name for name, _ in after["model"].named_children()][-1] == "prelu"
    assert describe(edit) == "in the model, call nn.PReLU() instead of softmax"


@pytest.mark.parametrize("given", [(Cut, 1), (Cut, 2), (Siamese,)])
def test_the_one_call_of_detach_is_left_out_and_the_loss_stays(given: Any) -> None:
    made = program(*given)
    (plan,) = planned(made, "rewire")
    after = treated(made, plan)
    assert "detached" not in findings(after)
    inputs, _ = made["data"]
    assert torch.equal(after["model"](inputs), made["model"](inputs))
    after["model"](inputs).sum().backward()
    assert all(p.grad is not None for p in after["model"].parameters())


@pytest.mark.parametrize(
    ("given", "method"),
    [((CutTwice, 1), "the forward of"), ((SiameseTwice,), "the again and embed of")],
)
def test_of_several_calls_of_detach_none_is_chosen(given: Any, method: str) -> None:
    made = program(*given)
    assert planned(made, "rewire") == []
    (said,) = [c for c in candidates(patient_of(made), "anything") if c.remedy == "rewire"]
    assert f"detach in {method} the model" in str(said.plan[0].options["text"])


def test_a_softmax_in_a_helper_is_left_out_there() -> None:
    made = program(Helped)
    (plan,) = planned(made, "drop-softmax")
    assert plan[0].options["method"] == "shares"
    after = treated(made, plan)
    inputs, _ = made["data"]
    torch.testing.assert_close(after["model"](inputs).softmax(-1), made["model"](inputs))


@pytest.mark.parametrize(("given", "left"), [((Cut, 1), False), ((CutTwice, 1), True)])
def test_what_is_left_to_its_author_is_not_gone_around(given: Any, left: bool) -> None:
    patient = patient_of(program(*given))
    assert left_to_author(patient, patient.diagnosis) is left


def edited(model: nn.Module) -> nn.Module:
    return apply(model, ())


def clamped(grad: Tensor) -> Tensor:
    return grad.clamp(-1e-4, 1e-4)


@pytest.mark.parametrize("copy", [copied_model, edited])
def test_a_copy_keeps_the_hooks_on_its_gradients(copy: Callable[[nn.Module], nn.Module]) -> None:
    model = nn.Linear(4, 2)
    model.weight.register_hook(clamped)
    twin = copy(copy(model))
    twin(torch.ones(3, 4)).sum().backward()
    assert model.weight.grad is None
    (weight, bias) = twin.parameters()
    assert weight.grad is not None
    assert float(weight.grad.max()) == pytest.approx(1e-4)
    assert bias.grad is not None
    assert float(bias.grad.max()) == 3
