"""rewire: modules that only detach give way to the identity; most other cuts are for their author."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from treated import findings, patient_of, treated

import unvanish
from unvanish.lessons.data import clusters
from unvanish.remedies.ordering import Candidate, candidates
from unvanish.remedies.remedy import Keep


class Own(nn.Module):
    """A module of a user's own that is one function."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Counted(Own):
    """Keeps an average of what goes through it, as observers do."""

    def __init__(self) -> None:
        super().__init__(lambda x: x.detach())
        self.register_buffer("seen", torch.zeros(()))


def copied_without_gradient(x: Tensor) -> Tensor:
    with torch.no_grad():
        return x.clone()


def program(*cuts: nn.Module, **more: Any) -> dict[str, Any]:
    """A classifier with these modules behind its first layers, one behind each."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for k, cut in enumerate(cuts):
        layers += [nn.Linear(32 if k else 64, 32), nn.Tanh(), cut]
    model = nn.Sequential(*layers, nn.Linear(32, 10))
    return {"model": model, "data": clusters(0), "loss": nn.CrossEntropyLoss(), **more}


def planned(made: dict[str, Any], keep: Keep = "anything") -> list[Candidate]:
    found = candidates(patient_of(made), keep)
    return [c for c in found if "detached" in c.findings and c.level != "advice"]


CUTTING: dict[str, Callable[[Tensor], Tensor]] = {
    "detach": lambda x: x.detach(),
    "data": lambda x: x.data,
    "a copy under no_grad": copied_without_gradient,
}


@pytest.mark.parametrize("name", CUTTING)
def test_what_only_detaches_gives_way_and_the_loss_stays(name: str) -> None:
    made = program(Own(CUTTING[name]))
    (plan,) = planned(made)
    assert (plan.remedy, plan.level, plan.safety) == ("rewire", "wiring", "same function")
    after = treated(made, plan.plan)
    assert "detached" not in findings(after)
    inputs, targets = made["data"]
    assert torch.equal(after["model"](inputs), made["model"](inputs))
    F.cross_entropy(after["model"](inputs), targets).backward()
    assert all(p.grad is not None for p in after["model"].parameters())
    assert isinstance(made["model"][2], Own)


def test_all_that_stand_in_the_way_of_the_same_parameters_go_together() -> None:
    first = planned(program(Own(CUTTING["detach"]), Own(CUTTING["data"])))[0]
    assert {place for edit in first.plan for place in edit.where} == {"2", "5"}


class Shared(nn.Module):
    """One module that detaches in two places: in one of them it may be meant."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(64, 32), nn.Linear(32, 10)
        self.cut = Own(CUTTING["detach"])

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cut(self.cut(self.first(x))))


def learned() -> dict[str, Any]:
    """An encoder that was trained elsewhere, in front of a head."""
    made = program(Own(CUTTING["detach"]))
    with torch.no_grad():
        weight = made["model"][0].weight
        weight += 3 * torch.outer(torch.randn(32), torch.randn(64)) * weight.std()
    return made


OTHERS: dict[str, Callable[[], dict[str, Any]]] = {
    "does more than detach": lambda: program(Own(lambda x: x.detach() * 0.5)),
    "the same on these data alone": lambda: program(Own(lambda x: x.detach().clamp(-9, 9))),
    "keeps something": lambda: program(Counted()),
    "called twice": lambda: {**program(), "model": Shared()},
    "behind what was trained elsewhere": learned,
}


@pytest.mark.parametrize("name", OTHERS)
def test_any_other_cut_is_for_its_author(name: str) -> None:
    made = OTHERS[name]()
    assert "detached" in findings(made)
    assert planned(made) == []
    said = [c for c in candidates(patient_of(made), "anything") if c.remedy == "rewire"]
    assert {c.level for c in said} == {"advice"}


def test_a_cut_is_mended_whatever_is_kept() -> None:
    made = program(Own(CUTTING["detach"]))
    assert len(planned(made, "function")) == 1
    assert planned(made, "function") == planned(made, "anything")


def test_a_cut_that_is_meant_is_left_alone() -> None:
    made = program(Own(CUTTING["detach"]))
    head = made["model"][3]
    probe = {**made, "optimizer": torch.optim.Adam(head.parameters(), 1e-2)}
    assert candidates(patient_of(probe), "anything") == ()


def test_a_program_is_cured_by_it_alone() -> None:
    made = program(Own(CUTTING["detach"]))
    optimizer = torch.optim.Adam(made["model"].parameters(), 3e-3)
    found = unvanish.treat(**{**made, "optimizer": optimizer}, steps=60, keep="anything")
    assert found.cured
    assert found.remedies == ("rewire",)
    assert isinstance(found.model[2], nn.Identity)
    assert isinstance(made["model"][2], Own)
