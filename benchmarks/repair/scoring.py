"""What a judge's cure is worth on one program: the gate, the metric, the price, beside the twin."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from repair.cure import Cure, left_alone
from repair.labels import NEAR, reaches
from repair.programs import Built, Program
from repair.training import run
from unvanish.errors import UnvanishError
from unvanish.init.measure import Meter

Judge = Callable[[Program, int], Cure]


def gate_faults(built: Built) -> list[str]:
    """Which of the four parts fail before training; ``["unread"]`` where it cannot be observed."""
    meter = Meter(built.model, built.data[0], built.loss, None, 0)
    try:
        return list(meter.readings(meter.observe()).faults)
    except (UnvanishError, RuntimeError, ValueError):
        return ["unread"]


def trial(cure: Cure, program: Program, seed: int) -> dict[str, Any]:
    """One seed of the treated program: gate at the start, metric after its steps."""
    try:
        built = cure.perform(program, seed)
        faults = gate_faults(built)
        return {"metric": round(run(built, seed).metric, 4), "faults": faults}
    except (UnvanishError, RuntimeError, ValueError, TypeError, AssertionError) as error:
        said = f"{type(error).__name__}: {error}"[:160]
        return {"metric": None, "faults": ["unread"], "failed": said}


def ask(judge: Judge, program: Program, budget: int) -> tuple[Cure, float]:
    """The cure and the processor seconds it took to find; a crash is no cure."""
    started = time.process_time()
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            cure = judge(program, budget)
    except Exception as error:  # a judge that crashes leaves the program as it was
        cure = left_alone("crashed", failed=f"{type(error).__name__}: {error}"[:200])
    return cure, time.process_time() - started


def answer(judge: Judge, program: Program, label: dict[str, Any], budget: int, seeds: int) -> Any:
    """One line of the record: what was done, what came out of it on each seed."""
    cure, seconds = ask(judge, program, budget)
    known = label["ill"][:seeds]
    trials = [trial(cure, program, seed) for seed in range(seeds)] if cure.changed else []
    found = [t["metric"] for t in trials] if cure.changed else known
    return {
        "said": cure.said[:160],
        "changed": cure.changed,
        "architecture": cure.architecture,
        "metric": found,
        "faults": [t["faults"] for t in trials],
        "runs": round(cure.runs, 2),
        "seconds": round(seconds, 2),
        "failed": cure.failed or next((t["failed"] for t in trials if "failed" in t), None),
    }


def values(row: dict[str, Any]) -> list[float]:
    """The metric of each seed; a seed on which the cure could not be carried out counts zero."""
    return [0.0 if metric is None else metric for metric in row["metric"]]


def near_twin(row: dict[str, Any], label: dict[str, Any]) -> bool:
    """Within two points of the twin's mean on all seeds but one."""
    return reaches(values(row), label["twin"])


def gate_holds(row: dict[str, Any]) -> bool:
    """All four parts on all seeds but one."""
    return sum(not faults for faults in row["faults"]) >= max(len(row["faults"]) - 1, 1)


def gain(row: dict[str, Any], label: dict[str, Any]) -> float:
    """Mean metric treated minus untreated."""
    got = values(row)
    return statistics.fmean(got) - statistics.fmean(label["ill"][: len(got)])


def worse(row: dict[str, Any], label: dict[str, Any]) -> bool:
    """The mean over the seeds fell by more than two points."""
    return row["changed"] and gain(row, label) < -NEAR
