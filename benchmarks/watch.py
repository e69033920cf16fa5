"""What watching costs: side by side, in turns, in one process, on one thread.

    python benchmarks/watch.py passes            # bandwidth of the passes alone
    python benchmarks/watch.py steps [--model mlp] [--quick]
    python benchmarks/watch.py graphs            # graph breaks under torch.compile
    python benchmarks/watch.py table             # the records as text

Every arm has a training of its own, made the same; blocks of steps of all arms alternate in random
order. Two figures: the share of CPU time spent in the watcher's own code, which a busy machine
hardly disturbs and which decides, and the ratio of whole steps to those of ``nothing`` in the same
round. Records go to ``benchmarks/records/watch-*.json``; what is there is not measured again
(``--again`` does).
"""

import argparse
import gc
import json
import os
import random
import statistics
import time
from pathlib import Path
from typing import Any

import psutil
import torch
from watch_arms import Arm, Ours, arms
from watch_graphs import graphs
from watch_models import TRAININGS
from watch_passes import SHAPES, bandwidth, quartiles
from watch_table import table

RECORDS = Path(__file__).parent / "records"
WARM = 3
"""Steps before the clock: caches, first readings on credit, the first deep look."""


def record(part: str) -> Path:
    return RECORDS / f"watch-{part}.json"


def read(part: str) -> dict[str, Any]:
    path = record(part)
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def write(part: str, key: str, result: Any) -> None:
    kept = {"cores": os.cpu_count(), "torch": torch.__version__, **read(part), key: result}
    record(part).write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def block(arm: Arm, steps: int) -> dict[str, float]:
    """A turn of one arm: seconds of a step by the wall and in CPU time, and the watcher's own."""
    arm.resume()
    own, wall, thread = arm.seconds, time.perf_counter(), time.thread_time()
    process = time.process_time()
    for _ in range(steps):
        arm.step()
    turn = {
        "wall": (time.perf_counter() - wall) / steps,
        "thread": (time.thread_time() - thread) / steps,
        "process": (time.process_time() - process) / steps,
        "own": (arm.seconds - own) / steps,
    }
    arm.pause()
    return turn


def side_by_side(
    model: str, rounds: int, steps: int, only: list[str] | None = None
) -> dict[str, Any]:
    """All arms in turns; for each the share of its own code and ratios of steps, with quartiles."""
    memory: dict[str, int] = {}
    running: dict[str, Arm] = {}
    for name, make in arms().items():
        if only and name not in only:
            continue
        training = TRAININGS[model]()
        training.backward()
        training.optimizer.step()
        gc.collect()
        before = psutil.Process().memory_info().rss
        running[name] = make(training)
        block(running[name], WARM)
        memory[name] = psutil.Process().memory_info().rss - before
    turns: dict[str, list[dict[str, float]]] = {name: [] for name in running}
    shuffle = random.Random(0)
    for _ in range(rounds):
        for name in shuffle.sample(list(running), len(running)):
            turns[name].append(block(running[name], steps))
    for arm in running.values():
        arm.close()
    plain = turns["nothing"]
    return {
        "arms": {
            name: {
                "rounds": rounds,
                "steps": steps,
                "share": _share(running[name], mine),
                "ratio_wall": quartiles(
                    [m["wall"] / p["wall"] for m, p in zip(mine, plain, strict=True)]
                ),
                "ratio_thread": quartiles(
                    [m["thread"] / p["thread"] for m, p in zip(mine, plain, strict=True)]
                ),
                "own_microseconds": statistics.median(turn["own"] for turn in mine) * 1e6,
                "step_milliseconds": statistics.median(turn["thread"] for turn in mine) * 1e3,
                "beside_microseconds": statistics.median(t["process"] - t["thread"] for t in mine)
                * 1e6,
                "memory_bytes": memory[name],
            }
            for name, mine in turns.items()
        },
    }


def _share(arm: Arm, turns: list[dict[str, float]]) -> list[float] | None:
    return quartiles([turn["own"] / turn["thread"] for turn in turns]) if arm.countable else None


def long_run(model: str, steps: int) -> dict[str, Any]:
    """The default budget over many steps, everything counted: first readings, deep looks, all."""
    arm = Ours(TRAININGS[model](), 0.02)
    arm.resume()
    started = time.perf_counter()
    for _ in range(steps):
        arm.step()
    seconds = time.perf_counter() - started
    cost = arm.monitor.cost
    read = [reading for reading in ("gradient_l2", "update_to_weight") if arm.monitor.recording]
    counts = {statistic: _steps_with(arm, statistic) for statistic in read}
    arm.close()
    return {
        "steps": steps,
        "seconds": seconds,
        "share": cost.seconds / seconds,
        "share_without_looks": (cost.seconds - cost.looks) / seconds,
        "steps_with": counts,
    }


def _steps_with(arm: Ours, statistic: str) -> int:
    recording = arm.monitor.recording
    assert recording is not None
    name = next(n for n, _ in arm.training.model.named_parameters())
    return len(recording.values(statistic, name)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=("passes", "steps", "long", "graphs", "table"))
    parser.add_argument("--model", choices=(*TRAININGS, "all"), default="all")
    parser.add_argument("--quick", action="store_true", help="few rounds")
    parser.add_argument(
        "--only", nargs="+", help="arms, by name, beside nothing; others stay on record"
    )
    parser.add_argument("--rounds", type=int, help="how often each arm has its turn")
    parser.add_argument("--again", action="store_true", help="measure what is on record, too")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.part == "table":
        print(table({part: read(part) for part in ("passes", "steps", "long", "graphs")}))
        return
    keys = list(SHAPES) if asked.part == "passes" else list(TRAININGS)
    if asked.model != "all":
        keys = [asked.model]
    for key in keys:
        if key in read(asked.part) and not asked.again and not asked.only:
            continue
        slow = key != "mlp"
        match asked.part:
            case "passes":
                result: Any = bandwidth(key, 6 if asked.quick else 25)
            case "steps":
                rounds, steps = (6, 1) if slow else (9, 4)
                only = ["nothing", *asked.only] if asked.only else None
                rounds = asked.rounds or (4 if asked.quick else rounds)
                result = side_by_side(key, rounds, steps, only)
            case "long":
                result = long_run(key, 20 if asked.quick else 60 if slow else 400)
            case _:
                result = graphs(key)
        if asked.only:
            known = read(asked.part).get(key, {}).get("arms", {})
            result["arms"] = {**known, **result["arms"]}
        write(asked.part, key, result)
        print(json.dumps({key: result}, indent=1), flush=True)


if __name__ == "__main__":
    main()
