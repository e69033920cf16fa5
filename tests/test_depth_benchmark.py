"""The depth benchmark lists each row once, and its report and plot stand whatever is on record."""

import argparse
import json
import math
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import depth
from depth_runs import plot, textbook
from depth_runs.cell import Cell
from depth_runs.recurrences import ADDING, COPY, draw_adding, draw_copy, explained, recalled
from depth_runs.tables import TABLES
from depth_runs.training import rate_at
from depth_runs.transformers import deep_norm, transformer

OPTIONS = argparse.Namespace(depths=[10, 100])


@pytest.mark.parametrize("name", TABLES)
def test_rows_have_keys_of_their_own(name: str) -> None:
    cells = list(TABLES[name].cells(OPTIONS))
    keys = [cell.key for cell in cells]
    assert len(keys) >= 10
    assert len(set(keys)) == len(keys)
    assert all(len(key.split(" | ")) == 4 for key in keys)
    names = [measurement.name for measurement in TABLES[name].measurements()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", TABLES)
def test_each_task_is_met_by_our_values_and_by_torchs(name: str) -> None:
    met = {(cell.task, cell.depth) for cell in TABLES[name].cells(OPTIONS)}
    ours = {(c.task, c.depth) for c in TABLES[name].cells(OPTIONS) if "critical_" in c.name}
    assert ours == met


def run(test: float, rate: float = 1e-3) -> dict[str, float]:
    return {"rate": rate, "validation": test, "test": test, "loss": 0.5, "seconds": 2.0}


def test_report_without_records(tmp_path: Path) -> None:
    assert depth.report(tmp_path).startswith("# Depth\n")
    assert "|" not in depth.report(tmp_path)


def test_report_of_a_record_that_is_half_done(tmp_path: Path) -> None:
    rows = {
        "who | digits | 10 | adam": {"search": {"1": run(0.9)}, "runs": {}},
        "whom | digits | 10 | adam": {"search": {}, "runs": {"1": run(0.5), "2": run(1.0)}},
    }
    record = {"rows": rows, "commands": ["python benchmarks/depth.py --table textbook"]}
    (tmp_path / "depth-textbook.json").write_text(json.dumps(record))
    written = depth.report(tmp_path)
    assert "| whom | digits | 10 | adam | 2 | 75.0 | 50.0 | 100.0 | 1.0e-03 | 2 |" in written
    assert "| who | digits" not in written
    record["measured"] = {"a ratio": {"measured": 0.25, "theory": 0.2048}}
    (tmp_path / "depth-textbook.json").write_text(json.dumps(record))
    assert "- a ratio: measured 0.25, theory 0.2048" in depth.report(tmp_path)


def test_the_best_rate_on_validation_is_run_on_every_seed_and_nothing_twice() -> None:
    calls: list[tuple[float, int, bool]] = []

    def trial(rate: float, seed: int, refit: bool) -> dict[str, float]:
        calls.append((rate, seed, refit))
        # The test part would choose the other way round.
        return {"validation": -rate, "test": rate, "loss": 0.0, "seconds": 0.0}

    cell = Cell("who", "task", 3, "adam", 0.3, trial)
    record: dict = {"rows": {}}
    depth.fill(record, cell, 2, 1, lambda: None)
    assert calls[3:] == [(pytest.approx(0.1), 1, True), (pytest.approx(0.1), 2, True)]
    assert [call[1:] for call in calls[:3]] == [(0, False)] * 3
    depth.fill(record, cell, 2, 1, lambda: None)
    assert len(calls) == 5


def test_a_wider_search_may_choose_another_rate_and_runs_at_the_old_one_are_dropped() -> None:
    luck = {(0.1, 0): 0.9, (0.3, 0): 0.5, (0.1, 1000): 0.2, (0.3, 1000): 0.8}

    def trial(rate: float, seed: int, refit: bool) -> dict[str, float]:
        return {"validation": luck.get((round(rate, 3), seed), 0.1), "test": rate, "loss": 0.0}

    cell = Cell("who", "task", 3, "adam", 0.3, trial)
    record: dict = {"rows": {}}
    for search, chosen in ((1, 0.1), (2, 0.3), (2, 0.3)):
        depth.fill(record, cell, 2, search, lambda: None)
        runs = record["rows"][cell.key]["runs"]
        assert [run["rate"] for run in runs.values()] == [pytest.approx(chosen)] * 2


def test_plot_is_well_formed_for_empty_and_partial_records() -> None:
    rows = {
        "a & b | digits | 10 | adam": {"search": {}, "runs": {"1": run(0.5), "2": run(0.9)}},
        "a & b | digits | 1000 | adam": {"search": {}, "runs": {"1": run(0.3)}},
        "c | spirals | 10 | adam": {"search": {"1": run(0.3)}, "runs": {}},
    }
    ElementTree.fromstring(plot.drawing({"rows": {}}))
    drawn = ElementTree.fromstring(plot.drawing({"rows": rows}))
    circles = drawn.findall("{http://www.w3.org/2000/svg}circle")
    assert len(circles) == 2
    assert float(circles[0].attrib["cy"]) == plot.height(70)
    assert float(circles[0].attrib["cx"]) < float(circles[1].attrib["cx"])


def test_what_the_sequence_tasks_ask_is_in_their_sequences() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs, targets = draw_adding(20, 64, generator)
    assert torch.equal(inputs[:, :, 1].sum(1), torch.full((64,), 2.0))
    assert torch.equal(inputs[:, :10, 1].sum(1), torch.ones(64))
    torch.testing.assert_close((inputs[:, :, 0] * inputs[:, :, 1]).sum(1), targets)
    assert explained(targets[:, None, None], targets) == pytest.approx(1)
    assert explained(targets.mean().expand(64, 1, 1), targets) == pytest.approx(0, abs=1e-6)
    assert explained(torch.full((64, 1, 1), math.nan), targets) == 0
    inputs, symbols = draw_copy(20, 64, generator)
    assert inputs.shape == (64, 30, 9)
    assert torch.equal(inputs[:, :5].argmax(2), symbols)
    assert not inputs[:, 5:, :8].any()
    assert recalled(inputs[:, :5, :8], symbols) == 1
    assert ADDING.draw is draw_adding
    assert COPY.draw is draw_copy


def test_deep_norm_is_the_papers() -> None:
    torch.manual_seed(0)
    model = deep_norm(transformer("post-norm", 8, 10), None)  # type: ignore[arg-type]
    block = model[1]
    xavier = math.sqrt(2 / 64)
    beta = 64**-0.25
    query, _, value = block.attention.in_proj_weight.detach().chunk(3)
    assert float(query.std()) == pytest.approx(xavier, rel=0.1)
    assert float(value.std()) == pytest.approx(beta * xavier, rel=0.1)
    assert float(block.attention.out_proj.weight.detach().std()) == pytest.approx(
        beta * xavier, rel=0.1
    )


def test_no_warm_up_starts_at_the_full_rate() -> None:
    assert rate_at(0, 200, 0.1, warm_up=0) == 0.1
    assert rate_at(0, 200, 0.1) == pytest.approx(0.005)
    assert rate_at(199, 200, 0.1) < 1e-4


def test_gradient_norms_are_those_at_the_hidden_layers() -> None:
    torch.manual_seed(0)
    first, last = torch.nn.Linear(3, 2, bias=False), torch.nn.Linear(2, 2, bias=False)
    model = torch.nn.Sequential(first, torch.nn.ReLU(), last)
    inputs, labels = torch.randn(1, 3), torch.tensor([1])
    wrong = model(inputs).softmax(1) - torch.tensor([[0.0, 1.0]])
    expected = (wrong @ last.weight) * (first(inputs) > 0)
    assert textbook.gradient_norms(model, inputs, labels) == [
        pytest.approx(float(expected.detach().norm()), rel=1e-5)
    ]
