"""Layers in plain lists, dictionaries and tensors: made the model's own, with the values they have."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from treated import findings, patient_of, treated

from unvanish.errors import CannotCut
from unvanish.lessons.data import clusters
from unvanish.remedies.ordering import candidates
from unvanish.surgery import Edit, apply, carried
from unvanish.surgery.describe import describe
from unvanish.treatment.patch import make_patch


class Holder(nn.Module):
    """Layers in a list, in a list of lists, in a dictionary; a tensor that nobody registered."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = [nn.Linear(64, 16), nn.Tanh()]
        self.nested = ([nn.Linear(16, 16)], [nn.Tanh()])
        self.named = {"last": nn.Linear(16, 10)}
        self.scale = torch.ones(16, requires_grad=True)
        self.sizes = [64, 16]

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        for inner in self.nested:
            for layer in inner:
                x = layer(x)
        return self.named["last"](x * self.scale)


EVERYTHING = Edit(action="register", where=("layers", "nested", "named", "scale"))


def program(model: nn.Module) -> dict[str, Any]:
    parameters = [*model.parameters(), torch.zeros((), requires_grad=True)]
    optimizer = torch.optim.Adam(parameters, 1e-2)
    return {
        "model": model,
        "data": clusters(0),
        "loss": nn.CrossEntropyLoss(),
        "optimizer": optimizer,
    }


def test_what_is_registered_keeps_its_values_and_trains() -> None:
    torch.manual_seed(0)
    model = Holder()
    treated_model = apply(model, [EVERYTHING], batch=clusters(0), loss=F.cross_entropy)
    inputs, targets = clusters(0)
    assert torch.equal(treated_model(inputs), model(inputs))
    assert list(model.parameters()) == []
    names = {name for name, _ in treated_model.named_parameters()}
    assert {"layers.0.weight", "nested.0.0.bias", "named.last.weight", "scale"} <= names
    optimizer = carried(torch.optim.SGD([torch.zeros(1)], 0.1), model, treated_model, [EVERYTHING])
    before = [p.detach().clone() for p in treated_model.parameters()]
    F.cross_entropy(treated_model(inputs), targets).backward()
    optimizer.step()
    for old, new in zip(before, treated_model.parameters(), strict=True):
        assert not torch.equal(old, new)


@pytest.mark.parametrize("place", ["sizes", "nothing"])
def test_what_holds_no_layers_cannot_be_registered(place: str) -> None:
    with pytest.raises(CannotCut, match=place):
        apply(Holder(), [Edit(action="register", where=(place,))])


class Listed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden = [nn.Linear(64, 24), nn.Linear(24, 24)]
        self.head = nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.hidden:
            x = torch.relu(layer(x))
        return self.head(x)


def test_layers_in_a_list_are_registered_and_nothing_is_found_any_more() -> None:
    torch.manual_seed(0)
    made = program(Listed())
    plan, advised = candidates(patient_of(made), "function")
    assert (plan.remedy, plan.level, plan.safety) == ("register-modules", "wiring", "same function")
    assert advised.level == "advice"
    assert "unregistered-module" not in findings(treated(made, plan.plan))
    assert describe(plan.plan[0]) == "register hidden with the model"


def test_layers_that_were_trained_elsewhere_are_left_to_their_author() -> None:
    torch.manual_seed(0)
    model = Listed()
    with torch.no_grad():
        weight = model.hidden[0].weight
        weight += 3 * torch.outer(torch.randn(24), torch.randn(64)) * weight.std()
    found = candidates(patient_of(program(model)), "anything")
    assert {c.level for c in found if c.remedy == "register-modules"} == {"advice"}


SOURCE = """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(net):
        super().__init__()
        net.hidden = []
        for _ in range(2):
            net.hidden.append(nn.Linear(8, 8))
        net.head = nn.Linear(8, 2)

    def forward(net, x):
        for layer in net.hidden:
            x = torch.relu(layer(x))
        return net.head(x)


def program():
    model = Net()
    data = torch.randn(32, 8), torch.randint(2, (32,))
    return model, data, nn.CrossEntropyLoss(), torch.optim.Adam(model.parameters())
"""


def test_the_patch_wraps_the_list_where_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "listed_net.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    module = __import__("listed_net")
    model = module.program()[0]
    edits = [
        Edit(action="register", where=("hidden",)),
        Edit(action="scale", where=("hidden.0.weight",), options={"factor": 2.0}),
    ]
    patch = make_patch(model, edits, module.program, root=tmp_path)
    assert "+        net.hidden = nn.ModuleList([])" in patch.diff
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run(["git", "apply"], input=patch.diff.encode(), cwd=tmp_path, check=True)
    names: dict[str, Any] = {}
    torch.manual_seed(0)
    exec((tmp_path / "listed_net.py").read_text(), names)
    torch.manual_seed(0)
    changed = names["program"]()[0]
    torch.manual_seed(0)
    expected = apply(module.program()[0], edits)
    assert changed.state_dict().keys() == expected.state_dict().keys()
    for name, value in expected.state_dict().items():
        assert torch.equal(changed.state_dict()[name], value)
