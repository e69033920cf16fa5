"""The guard benchmark: faults strike as they say, runs are counted right, the page is the record's."""

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import guard as benchmark
from guard_tables import BEGIN, END, Record, tables
from guard_tasks import FAULTS, STRIKES, TASKS, Fading

ROOT = Path(__file__).parents[1]
OPTIONS = argparse.Namespace(
    seeds=2,
    tasks=[task.name for task in TASKS],
    faults=[fault.name for fault in FAULTS],
    arms=list(benchmark.ARMS),
)


def test_every_run_has_a_key_of_its_own() -> None:
    keys = [(t.name, f.name, f.half, f.scaler, arm, s) for t, f, arm, s in benchmark.cells(OPTIONS)]
    assert len(set(keys)) == len(keys)
    assert {key[4] for key in keys} == set(benchmark.ARMS)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_models_learn_what_the_task_asks_and_a_fault_strikes_only_when_it_should(task: Any) -> None:
    x, y, held_x, _ = task.data()
    outputs = task.model()(held_x[:5])
    assert outputs.shape[:-1] == held_x[:5].shape[: outputs.dim() - 1]
    assert outputs.flatten(0, -2).shape[0] == y[:5].numel()
    loss = torch.tensor(2.0)
    for fault in FAULTS:
        quiet_x, quiet_y = fault.batch(STRIKES - 1, x, y)
        assert quiet_x is x
        assert quiet_y is y
        assert fault.loss(STRIKES - 1, loss) == fault.token_loss(STRIKES - 1, loss) == 2
        assert fault.rate(STRIKES - 1) == 1


def test_a_fading_gradient_leaves_the_forward_pass_alone() -> None:
    x = torch.randn(3, requires_grad=True)
    faded = Fading.apply(x, 0.25)
    assert torch.equal(faded, x)
    faded.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0.25] * 3


def test_saved_means_no_worse_than_the_twin_and_equal_bits_are_said() -> None:
    runs = {}
    for seed in range(3):
        for arm, healthy, struck, bits in (
            ("nothing", 0.9, 0.1, "a"),
            ("roll-back", 0.9, 0.85 + 0.04 * (seed > 0), "a"),
            ("agc", 0.8 + 0.01 * seed, 0.95, "b"),
        ):
            runs[f"mlp none single {arm} {seed}"] = {
                "accuracy": healthy,
                "acts": 3,
                "weights": bits,
            }
            runs[f"mlp spike single {arm} {seed}"] = {"accuracy": struck, "acts": 1, "weights": "c"}
    record = Record(
        {
            "runs": runs,
            "arms": ["nothing", "roll-back", "agc"],
            "faults": {"none": "nothing", "spike": "a spike"},
            "steps": 1,
            "seconds": 1,
            "torch": "x",
        }
    )
    counts = [record.saved("mlp", "spike", arm)[0] for arm in record.arms]
    assert counts == [0, 2, 3]
    text = tables(record)
    assert "| roll-back | same bits |" in text
    assert "| agc | -9.0 (" in text


def test_a_nan_batch_ruins_a_run_and_skipping_saves_it() -> None:
    mlp, nan = TASKS[0], next(fault for fault in FAULTS if fault.name == "nan")
    ruined = benchmark.train(mlp, nan, "nothing", 0)
    saved = benchmark.train(mlp, nan, "skip-nonfinite", 0)
    assert saved["acts"] == 1
    assert math.isfinite(saved["accuracy"])
    assert saved["accuracy"] > ruined["accuracy"] + 0.3


def test_the_page_shows_the_record() -> None:
    record = json.loads(benchmark.RECORD.read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "guard.md").read_text(encoding="utf-8")
    assert page.split(BEGIN)[1].split(END)[0].strip() == tables(Record(record)).strip()
