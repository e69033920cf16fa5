"""How soon an injected fault is named, and how often a healthy training is alarmed about.

    python benchmarks/alarms.py [--seeds 2] [--steps 200] [--record FILE.json] [--only WORDS]
    python benchmarks/alarms.py --unseen 8 [--record FILE.json]

Small real trainings, read by a loop of their own in plain float64. For each fault: in how many
runs was it named by what was injected, after how many steps; named by something else instead or
besides. For the healthy ones: every alarm is a false one. Then what one step costs with 1,000
tensors.
"""

import argparse
import json
import statistics
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from alarm_runs.faults import FAULTS
from alarm_runs.healthy import HEALTHY
from alarm_runs.training import Training
from alarm_runs.unseen import unseen

from unvanish.alarms import Alarms
from unvanish.recording import Event, StepReading, TensorEntry
from unvanish.recording.statistics import HISTOGRAM_BINS

WITHIN = 50
"""Steps after the injection in which a fault must be named."""


def events(training: Training, steps: int) -> list[Event]:
    """Train, and feed every step."""
    alarms = Alarms(training.tensors(), optimizer=type(training.optimizer).__name__)
    return [event for reading in training.readings(steps) for event in alarms.feed(reading)]


def healthy(seeds: int, steps: int, only: str) -> dict[str, Any]:
    """All alarms in healthy trainings, by training."""
    false: dict[str, list[str]] = {}
    runs = 0
    for name, build in HEALTHY.items():
        for seed in range(seeds if only in name else 0):
            runs += 1
            for event in events(build(seed), steps):
                if event.kind == "alarm":
                    said = f"{event.name} ({event.severity}) at {event.step}: {event.detail}"
                    false.setdefault(name, []).append(said)
                    print(f"  FALSE {name} seed {seed}: {said}", flush=True)
    return {"trainings": len(HEALTHY), "runs": runs, "steps": steps, "false": false}


def faults(seeds: int, steps: int, only: str) -> dict[str, Any]:
    """For each fault: the delays, and what else was named."""
    table: dict[str, Any] = {}
    for name, fault in FAULTS.items():
        delays: list[int | None] = []
        besides: list[str] = []
        early = 0
        for seed in range(seeds if only in name else 0):
            until = min(steps, fault.at + WITHIN + 20)
            raised = [e for e in events(fault.build(seed), until) if e.kind == "alarm"]
            early += sum(e.step < fault.at for e in raised)
            right = [e for e in raised if e.name in fault.names and e.severity != "note"]
            delays.append(right[0].step - fault.at if right else None)
            besides += [f"{e.name} ({e.severity})" for e in raised if e.name not in fault.names]
        if delays:
            table[name] = {
                "injected": fault.names[0],
                "delays": delays,
                "early": early,
                "besides": sorted(set(besides)),
            }
            print(f"  {name}: {delays}, besides {sorted(set(besides))}", flush=True)
    return table


def cost(tensors: int = 1000, steps: int = 300) -> dict[str, float]:
    """Microseconds of processor time of one ``feed``: moments alone, and with all readings."""
    entries = [
        TensorEntry(
            name=f"layers.{i // 2}.{'bias' if i % 2 else 'weight'}", shape=shape, dtype="float32"
        )
        for i, shape in enumerate([(64, 64), (64,)] * (tensors // 2))
    ]
    alarms, draw = Alarms(entries, optimizer="AdamW"), np.random.default_rng(0)
    spent: dict[bool, list[float]] = {False: [], True: []}
    for step in range(steps):
        norms = draw.lognormal(size=tensors).astype(np.float32)
        wide = step % 10 == 0
        values = {f"gradient_{name}": norms for name in ("l2", "rms", "mean", "abs_max")}
        values |= {f"gradient_{name}": np.zeros_like(norms) for name in ("zeros", "nonfinite")}
        if wide:
            values |= {"weight_rms": norms * 0.05, "update_to_weight": norms * 1e-3}
        counts = np.full((tensors, HISTOGRAM_BINS), 3, dtype=np.uint32)
        reading = StepReading(
            step=step,
            seconds=0.1 * step,
            stage="unscaled before-clipping whole",
            values=values,
            histogram=counts if wide else None,
            scalars={"loss": 2 + 0.1 * draw.normal(), "learning_rate": 1e-3, "clip_factor": 0.5},
        )
        start = time.thread_time()
        alarms.feed(reading)
        spent[wide].append(1e6 * (time.thread_time() - start))
    return {
        "tensors": float(tensors),
        "moments_microseconds": statistics.median(spent[False]),
        "everything_microseconds": statistics.median(spent[True]),
    }


def summary(table: dict[str, Any], calm: dict[str, Any]) -> dict[str, float]:
    delays = [delay for row in table.values() for delay in row["delays"]]
    named = [delay for delay in delays if delay is not None and delay <= WITHIN]
    return {
        "faults": float(len(table)),
        "runs": float(len(delays)),
        "named_in_time": len(named) / len(delays) if delays else float("nan"),
        "median_delay": statistics.median(named) if named else float("nan"),
        "largest_delay": float(max(named, default=-1)),
        "healthy_runs": float(calm["runs"]),
        "healthy_runs_alarmed": float(sum(map(len, calm["false"].values()))),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--only", default="", help="trainings whose name contains this")
    parser.add_argument("--unseen", type=int, help="only programs not made for this: every n-th")
    parser.add_argument("--record", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    if arguments.unseen:
        record = unseen(arguments.unseen, 120, events)
        print(json.dumps(record, indent=1))
        write(record, arguments.record)
        return
    print("faults: steps from injection to its name")
    table = faults(arguments.seeds, arguments.steps, arguments.only)
    print("healthy trainings")
    calm = healthy(arguments.seeds, arguments.steps, arguments.only)
    record = {
        "torch": torch.__version__,
        "summary": summary(table, calm),
        "cost": cost(),
        "faults": table,
        "healthy": calm,
    }
    print(json.dumps({key: record[key] for key in ("summary", "cost")}, indent=1))
    write(record, arguments.record)


def write(record: dict[str, Any], path: Path | None) -> None:
    if path is not None:
        path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
