"""What a model keeps in plain attributes is as before, and stands in nobody's way."""

import copy
import threading
import warnings
from collections import deque

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import unvanish

X = torch.randn(32, 6, generator=torch.Generator().manual_seed(0))
Y = torch.arange(32) % 3


class Keeping(nn.Module):
    """Counts, appends, remembers its last features, and keeps a mean that is no buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 16), nn.Linear(16, 3)
        self.calls, self.seen = 0, deque[float]()
        self.features: Tensor | None = None
        self.norms: dict[str, Tensor] = {}
        self.mean = torch.zeros(16)

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.features = torch.relu(self.first(x))
        self.seen.append(float(x.mean()))
        self.norms["features"] = self.features.norm()
        with torch.no_grad():
            self.mean.mul_(0.9).add_(self.features.mean(0), alpha=0.1)
        self.made_late = self.features
        return self.last(self.features)


class Built(nn.Module):
    """Makes a layer of its own at its first call, and remembers that it did."""

    def __init__(self) -> None:
        super().__init__()
        self.last, self.ready = nn.Linear(16, 3), False
        self.first: nn.Module | None = None

    def forward(self, x: Tensor) -> Tensor:
        if not self.ready:
            self.first, self.ready = nn.Linear(x.shape[1], 16), True
        assert self.first is not None
        return self.last(torch.relu(self.first(x)))


def sgd(model: nn.Module, rate: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), rate)


def test_attributes_are_as_before() -> None:
    model = Keeping()
    seen, norms, mean = model.seen, model.norms, model.mean
    unvanish.diagnose(model, (X, Y), F.cross_entropy, optimizer=sgd(model, 0.1), steps=3)
    assert (model.calls, model.features, len(seen), norms) == (0, None, 0, {})
    assert model.seen is seen
    assert model.norms is norms
    assert model.mean is mean
    assert not mean.any()
    assert not hasattr(model, "made_late")
    copy.deepcopy(model)


def test_a_layer_that_the_first_call_made_stays_with_what_says_so() -> None:
    model = Built()
    unvanish.diagnose(model, (X, Y), F.cross_entropy)
    first = model.first
    assert isinstance(first, nn.Linear)
    model(X)
    assert model.first is first


@pytest.mark.parametrize("called", [False, True])
@pytest.mark.parametrize(
    ("kind", "rate", "name"),
    [
        ("features", 1e-8, "step-too-small"),
        ("weight_norm", 1e-8, "step-too-small"),
        ("features", 1e3, "step-too-large"),
        ("spectral_norm", 1e3, "step-too-large"),
    ],
)
def test_kept_results_do_not_stand_in_the_way_of_trial_steps(
    kind: str, called: bool, rate: float, name: str
) -> None:
    torch.manual_seed(0)
    model = Keeping() if kind == "features" else _normed(kind)
    if called:
        model(X)
    diagnosis = unvanish.diagnose(model, (X, Y), F.cross_entropy, optimizer=sgd(model, rate))
    assert [f.name for f in diagnosis.findings] == [name], diagnosis
    assert not [said for said in diagnosis.blind_spots if "not possible" in said]


def _normed(kind: str) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the older form, which torch calls deprecated
        normed = getattr(nn.utils, kind)
        return nn.Sequential(normed(nn.Linear(6, 16)), nn.ReLU(), normed(nn.Linear(16, 3)))


def test_what_no_copy_can_hold_is_still_said() -> None:
    model = Keeping()
    model.lock = threading.Lock()
    with pytest.raises(unvanish.UnvanishError, match="cannot be copied"):
        unvanish.treat(model, (X, Y), F.cross_entropy, optimizer=sgd(model, 0.1), steps=2)


def test_a_treated_model_that_keeps_its_features_learns() -> None:
    torch.manual_seed(0)
    model = Keeping()
    model(X)
    nn.init.zeros_(model.first.weight)
    nn.init.constant_(model.first.bias, -1.0)
    labels = (X[:, 0] > 0).long()
    treated = unvanish.treat(
        model, (X, labels), F.cross_entropy, optimizer=sgd(model, 0.1), steps=60, seeds=3
    )
    assert treated.edits, treated
