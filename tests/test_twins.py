"""Copies of models: as copy.deepcopy makes them."""

import copy
import functools
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from unvanish.twins import twin_of


class Tied(nn.Module):
    """One matrix under two names, a module twice, what is no module, and a method kept as a value."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.again = self.first
        self.register_buffer("seen", torch.zeros(3), persistent=False)
        self.notes: dict[str, list[Tensor]] = {"kept": [torch.ones(2)]}
        self.shared: list[Any] = [self.notes, self.first]
        self.call = self.twice

    def twice(self, x: Tensor) -> Tensor:
        return self.second(self.first(x))

    def forward(self, x: Tensor) -> Tensor:
        return self.call(x)


class Own(nn.Linear):
    """Copies itself in its own way."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "Own":
        made = Own(self.in_features, self.out_features)
        made.load_state_dict(self.state_dict())
        made.copied = True
        memo[id(self)] = made
        return made


class Kept(nn.Linear):
    """Leaves something out of its state, and makes it anew."""

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "scratch"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.scratch = "new"


def kept() -> nn.Module:
    made = Kept(4, 4)
    made.scratch = "old"
    return nn.Sequential(made)


NETS: dict[str, Callable[[], nn.Module]] = {
    "plain": lambda: nn.Sequential(OrderedDict(a=nn.Linear(4, 5), b=nn.ReLU(), c=nn.Linear(5, 4))),
    "tied": Tied,
    "own": lambda: nn.Sequential(nn.Linear(4, 4), Own(4, 4)),
    "kept": kept,
    "norms": lambda: nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Softmax(1)).eval(),
    "spectral": lambda: nn.Sequential(parametrizations.spectral_norm(nn.Linear(4, 4))),
    "frozen": lambda: nn.Sequential(nn.Linear(4, 4).requires_grad_(False), nn.PReLU()),
}


@pytest.mark.parametrize("name", NETS)
def test_a_twin_is_what_deepcopy_makes(name: str) -> None:
    net = NETS[name]()
    truth, twin = copy.deepcopy(net), twin_of(net)
    assert twin.training == net.training
    assert [n for n, _ in twin.named_modules()] == [n for n, _ in truth.named_modules()]
    assert [sorted(vars(m)) for m in twin.modules()] == [sorted(vars(m)) for m in truth.modules()]
    for mine, theirs in zip(twin.state_dict().items(), truth.state_dict().items(), strict=True):
        assert mine[0] == theirs[0]
        assert torch.equal(mine[1], theirs[1])
    named = zip(twin.named_parameters(), net.named_parameters(), strict=True)
    for (mine, copied), (theirs, original) in named:
        assert mine == theirs
        assert copied is not original
        assert copied.data_ptr() != original.data_ptr()
        assert copied.requires_grad == original.requires_grad
    x = torch.randn(6, 4)
    assert torch.equal(copy.deepcopy(truth)(x), twin(x))


def test_what_is_tied_stays_tied_and_nothing_leads_back() -> None:
    net = Tied()
    twin = twin_of(net)
    assert twin.second.weight is twin.first.weight
    assert twin.again is twin.first
    assert twin.shared[0] is twin.notes
    assert twin.shared[1] is twin.first
    assert twin.call.__self__ is twin
    assert twin.notes["kept"][0].data_ptr() != net.notes["kept"][0].data_ptr()
    twin._forward_hooks["mine"] = print
    assert not net._forward_hooks
    assert not twin.first._forward_hooks


def test_own_ways_of_copying_are_kept() -> None:
    assert twin_of(NETS["own"]())[1].copied
    assert twin_of(kept())[0].scratch == "new"


def test_a_cell_and_its_hooks_are_copied() -> None:
    net = nn.LSTM(4, 5)
    met: list[str] = []
    net.register_forward_hook(functools.partial(lambda said, *_: met.append(said), "hook"))
    twin = twin_of(net)
    x = torch.randn(3, 2, 4)
    assert torch.equal(twin(x)[0], net(x)[0])
    with torch.no_grad():
        twin.weight_hh_l0.zero_()
    assert not torch.equal(twin(x)[0], net(x)[0])
    assert met == ["hook"] * 4
