"""The benchmark of watching: what its figures are made of. No figure itself is tested."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import watch_arms
    import watch_models
    import watch_table

    yield watch_arms, watch_models, watch_table
    for name in ("watch_arms", "watch_models", "watch_table", "models"):
        sys.modules.pop(name, None)


def small(models: Any) -> Any:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
    return models._training(net, torch.randn(8, 6), torch.randint(3, (8,)))


def test_arms_that_only_look_train_alike(parts: Any) -> None:
    arms, models, _ = parts
    looks = ("nothing", "folk loop", "lightning grad_norm", "unvanish, budget=None")
    ends = {}
    for name in (*looks, "passes alone, everything"):
        training = small(models)
        arm = arms.arms()[name](training)
        arm.resume()
        for _ in range(3):
            arm.step()
        arm.pause()
        arm.close()
        assert (arm.seconds > 0) is (name != "nothing") or arm.seconds < 1e-3
        ends[name] = [p.detach() for p in training.model.parameters()]
    for end in ends.values():
        assert all(torch.equal(one, two) for one, two in zip(end, ends["nothing"], strict=True))


def test_lightnings_formula_is_the_norm(parts: Any) -> None:
    arms, models, _ = parts
    training = small(models)
    arm = arms.LightningNorm(training)
    training.backward()
    arm.look(training.model)
    whole = torch.cat([p.grad.reshape(-1) for p in training.model.parameters()])
    assert arm.kept[""] == pytest.approx(float(whole.norm()), rel=1e-6)


def test_the_small_gpt_does_not_look_ahead(parts: Any) -> None:
    _, models, _ = parts
    torch.manual_seed(0)
    gpt = models.Gpt()
    tokens = torch.randint(4096, (1, 16))
    other = tokens.clone()
    other[0, 10:] = 7
    assert torch.allclose(gpt(tokens)[0, :10], gpt(other)[0, :10], atol=1e-5)
    assert not torch.allclose(gpt(tokens)[0, 10:], gpt(other)[0, 10:], atol=1e-5)


def test_what_is_on_record_can_be_shown(parts: Any) -> None:
    import json

    _, _, tables = parts
    records = {
        part: json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        for part in ("passes", "steps", "long", "graphs")
        for path in [BENCHMARKS / "records" / f"watch-{part}.json"]
    }
    text = tables.table(records)
    assert "| moments |" in text
    assert "| clip_grad_norm_ |" in text
