"""What a treatment says and keeps where its time, its freedom or its input ends."""

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import unvanish
from unvanish.treatment import clock, visit

BUDGET = 1000.0


def deep(depth: int = 12) -> nn.Sequential:
    torch.manual_seed(0)
    layers = [part for _ in range(depth) for part in (nn.Linear(16, 16), nn.Sigmoid())]
    return nn.Sequential(*layers, nn.Linear(16, 2))


def halves() -> tuple[Tensor, Tensor]:
    x = torch.randn(256, 16, generator=torch.Generator().manual_seed(0))
    return x, (x[:, 0] + x[:, 1] > 0).long()


def treat(model: nn.Module, **more: Any) -> Any:
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    given: dict[str, Any] = {"steps": 80, "seeds": 3, "optimizer": optimizer, **more}
    return unvanish.treat(model, given.pop("data", halves()), F.cross_entropy, **given)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that the treatment's clock shows, to be moved by hand."""
    seconds = [0.0]
    monkeypatch.setattr(clock, "time", SimpleNamespace(monotonic=lambda: seconds[0]))
    return seconds


def test_a_trial_that_takes_all_the_time_ends_the_treatment_in_a_sentence(
    now: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    trials: list[Any] = []
    put_on_trial: list[Any] = []
    real = visit.compare

    def slow(*args: Any, **more: Any) -> Any:
        trials.append(more["budget_s"])
        put_on_trial.append(args[1].edits)
        now[0] = 2 * BUDGET
        return real(*args, **{**more, "budget_s": None, "seeds": 2, "most": 2})

    monkeypatch.setattr(visit, "compare", slow)
    monkeypatch.setattr(visit, "helps", lambda *_: False)
    treated = treat(deep(), budget_s=BUDGET)
    assert len(trials) == 1
    assert trials[0] > 0
    assert treated.said.startswith("the budget ended")
    assert not treated.edits
    assert treated.on_trial.edits == put_on_trial[0]
    assert f"On trial: {treated.on_trial.remedies[0]}" in str(treated)


def test_the_leader_is_tried_where_the_search_ran_out_of_time(now: list[float]) -> None:
    def told(doing: str, _: float) -> None:
        if doing.endswith(": 50 steps") and "control" not in doing:
            now[0] = 0.7 * BUDGET  # the search may have 60 %, the rest is for the proof

    treated = treat(deep(), budget_s=BUDGET, progress=told)
    assert "reinitialize" in treated.remedies, treated.said
    assert treated.verdict.word == "helped"


def test_what_a_larger_freedom_would_allow_is_said() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 32), nn.Linear(32, 32), nn.Linear(32, 2))
    treated = treat(model, steps=40)
    assert not treated.edits
    assert "keep='layers' would allow insert-activation" in treated.said


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("ask", ["diagnose", "treat"])
def test_a_shuffling_loader_draws_on_as_if_nobody_had_asked(ask: str, own: bool) -> None:
    generator = torch.Generator().manual_seed(3) if own else None
    data = DataLoader(TensorDataset(*halves()), 64, shuffle=True, generator=generator)
    model = deep(2)
    before = torch.get_rng_state(), generator.get_state() if generator is not None else None
    if ask == "treat":
        treat(model, data=data, steps=8)
    else:
        unvanish.diagnose(model, data, F.cross_entropy)
    assert torch.equal(torch.get_rng_state(), before[0])
    if generator is not None:
        assert before[1] is not None
        assert torch.equal(generator.get_state(), before[1])


def test_no_samples_and_no_processes_are_said_at_once() -> None:
    nothing = torch.empty(0, 16), torch.empty(0, dtype=torch.long)
    with pytest.raises(unvanish.UnvanishError, match="no samples"):
        treat(deep(2), data=nothing)
    told: list[str] = []
    with pytest.raises(unvanish.UnvanishError, match="jobs must be"):
        treat(deep(2), jobs=0, progress=lambda doing, _: told.append(doing))
    assert not told


def test_what_a_patch_calls_is_there_in_a_fresh_process() -> None:
    program = "import unvanish; unvanish.surgery.apply, unvanish.surgery.Controls"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
