"""treat: the smallest change that helps, on copies, proved; and no change where nothing is wrong."""

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

import unvanish
from unvanish.cli import run
from unvanish.errors import BadInput
from unvanish.surgery.edits import VALUES

PIXELS, LABELS = load_digits(return_X_y=True)
DIGITS = (torch.tensor(PIXELS[:256], dtype=torch.float32) / 16, torch.tensor(LABELS[:256]))


def deep(activation: type[nn.Module] = nn.Sigmoid, depth: int = 12) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Linear(64, 32), activation()]
    for _ in range(depth - 1):
        layers += [nn.Linear(32, 32), activation()]
    return nn.Sequential(*layers, nn.Linear(32, 10))


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def adam(model: nn.Module, rate: float = 3e-3) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), rate)


def treat(model: nn.Module, **more: Any) -> unvanish.Treatment:
    settings: dict[str, Any] = {"steps": 80, "optimizer": adam(model), **more}
    return unvanish.treat(model, DIGITS, F.cross_entropy, **settings)


def test_a_deep_sigmoid_net_is_cured_by_values_alone() -> None:
    model = deep()
    optimizer = adam(model)
    before = copy.deepcopy(model.state_dict())
    told: list[str] = []
    random = torch.get_rng_state()
    found = treat(model, optimizer=optimizer, progress=lambda doing, _: told.append(doing))
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not optimizer.state
    assert found.cured
    assert found.verdict is not None
    assert found.verdict.word == "helped"
    assert found.on_trial is not None
    assert found.on_trial.edits == found.edits
    assert "On trial:" not in str(found)  # the cure stands above it
    assert not found.changes_architecture
    assert any(edit.action in VALUES for edit in found.edits)
    assert found.after.healthy
    assert unvanish.diagnose(found.model, DIGITS, F.cross_entropy).healthy
    held = {id(p) for group in found.optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in found.model.parameters()}
    assert "cured by" in str(found)
    assert told[0] == "diagnosing"
    assert any(tried.out for tried in found.trials)


def test_nothing_is_done_to_a_healthy_net() -> None:
    model = small()
    found = treat(model)
    assert found.said.startswith("nothing to treat")
    assert (found.edits, found.verdict, found.trials, found.cured) == ((), None, (), False)
    for name, value in found.model.state_dict().items():
        assert torch.equal(value, model.state_dict()[name])
    assert found.model is not model


def test_parameters_that_the_optimizer_does_not_have_are_given_to_it() -> None:
    model = deep(nn.ReLU, 3)
    first = torch.optim.SGD([*model[:2].parameters(), *model[4:].parameters()], 0.2)
    found = treat(model, optimizer=first, steps=200)
    assert [edit.action for edit in found.edits] == ["optimizer"]
    assert set(found.edits[0].where) == {"2.weight", "2.bias"}
    held = {id(p) for group in found.optimizer.param_groups for p in group["params"]}
    assert {id(p) for p in found.model.parameters()} <= held


def test_what_keep_does_not_allow_is_said_and_the_model_stays() -> None:
    model = nn.Sequential(nn.Linear(64, 32), nn.Linear(32, 32), nn.Linear(32, 10))
    found = treat(model)
    assert not found.cured
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in found.model.state_dict().items())
    assert "keep='layers' would allow insert-activation" in found.said


def test_a_softmax_too_many_goes_whatever_is_kept() -> None:
    hidden = [nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU()]
    found = treat(nn.Sequential(*hidden, nn.Linear(32, 10), nn.Softmax(1)), keep="function")
    assert found.cured
    assert found.remedies == ("drop-softmax",)


class Functional(nn.Module):
    """Activations are functions here, and layers attributes of a list."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(64 if n == 0 else 32, 32) for n in range(12)])
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.sigmoid(layer(x))
        return self.head(x)


def test_a_hand_written_module_is_cured_too() -> None:
    torch.manual_seed(0)
    found = treat(Functional(), keep="layers")
    assert found.cured
    assert found.after.healthy


def test_an_interrupted_search_gives_the_best_so_far() -> None:
    def stop(doing: str, _: float) -> None:
        if doing.startswith("trial"):
            raise KeyboardInterrupt

    found = treat(deep(), progress=stop)
    assert found.said.startswith("interrupted")
    assert found.edits
    assert found.verdict is None
    assert not found.cured


def test_interrupted_at_once_nothing_is_changed() -> None:
    def stop(doing: str, _: float) -> None:
        if doing.startswith("reinitialize"):
            raise KeyboardInterrupt

    found = treat(deep(), progress=stop)
    assert found.said.startswith("interrupted before")
    assert found.edits == ()


def test_a_budget_that_is_spent_leaves_the_model_unchanged_or_proved() -> None:
    found = treat(deep(), budget_s=1e-3)
    assert found.edits == ()
    assert not found.cured


class Uncopyable(nn.Linear):
    def __deepcopy__(self, memo: dict[int, Any]) -> "Uncopyable":
        raise RuntimeError("holds an open file")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"seeds": 1}, "seeds is 1"),
        ({"keep": "all"}, "keep is 'all'"),
        ({"budget_s": 0}, "budget_s is 0"),
        ({"budget_s": float("nan")}, "budget_s is nan"),
        ({"optimizer": "adam"}, "optimizer must be"),
        ({"metric": 3}, "metric must be callable"),
    ],
)
def test_bad_input_is_said_in_a_sentence(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        treat(deep(), **settings)


def test_a_model_that_cannot_be_copied_is_refused() -> None:
    with pytest.raises(unvanish.UnvanishError, match="copied"):
        treat(nn.Sequential(Uncopyable(64, 10)))


def test_a_metric_that_is_no_number_is_refused_before_anything_is_trained() -> None:
    done: list[str] = []
    with pytest.raises(BadInput, match="metric"):
        treat(
            deep(),
            metric=lambda outputs, targets: float("nan"),
            progress=lambda what, seconds: done.append(what),
        )
    assert done == ["diagnosing"]


PROGRAM = '''"""Twelve sigmoid layers on digits."""

import torch
from sklearn.datasets import load_digits
from torch import nn


def program():
    torch.manual_seed(0)
    pixels, labels = load_digits(return_X_y=True)
    layers = [nn.Linear(64, 32), nn.Sigmoid()]
    for _ in range(11):
        layers += [nn.Linear(32, 32), nn.Sigmoid()]
    model = nn.Sequential(*layers, nn.Linear(32, 10))  # a comment that stays
    inputs = torch.tensor(pixels[:256], dtype=torch.float32) / 16
    return model, (inputs, torch.tensor(labels[:256])), nn.CrossEntropyLoss()
'''


def test_the_command_line_hands_back_a_patch_that_cures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text(PROGRAM)
    subprocess.run(["git", "init", "-q", "."], check=True)
    target, arguments = "train.py:program", ["--steps", "60", "--patch", "cure.patch"]
    assert run(["diagnose", target]) == 1
    assert run(["treat", target, *arguments, "--cure", "cure.py", "--html", "cure.html"]) == 0
    said = capsys.readouterr().out
    assert "cured by" in said
    assert "<html lang" in Path("cure.html").read_text()
    subprocess.run(["git", "apply", "cure.patch"], check=True)
    assert "a comment that stays" in Path("train.py").read_text()
    monkeypatch.delitem(sys.modules, "train")
    assert run(["diagnose", target]) == 0
    assert run(["treat", target, "--patch", "none.patch"]) == 0
    assert not Path("none.patch").exists()


def test_a_net_that_learns_nothing_is_helped_though_its_gradients_are_fine() -> None:
    model = small()
    found = treat(model, optimizer=torch.optim.SGD(model.parameters(), 5e-4), steps=60)
    assert found.before.healthy
    assert found.cured
    assert found.remedies == ("step-size",)
    assert any("teach this net nothing" in note for note in found.notes)


def test_random_targets_are_no_reason_to_change_anything() -> None:
    model = small()
    generator = torch.Generator().manual_seed(0)
    inputs, labels = torch.randn(256, 64, generator=generator), LABELS[:256]
    targets = torch.tensor(labels)[torch.randperm(256, generator=generator)]
    found = unvanish.treat(model, (inputs, targets), F.cross_entropy, adam(model), steps=60)
    assert found.before.healthy
    assert found.edits == ()
