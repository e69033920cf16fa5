"""How long the lab takes to answer a slider: to the picture, and to the verdict after it.

The picture: build, observe, predict, write as JSON; the bar is for it. The verdict: experiments on
copies of what was observed, counted from the slider too.

    python benchmarks/lab.py --record benchmarks/records/lab.json

Every answer is for another state, as when a slider is dragged; nothing is answered from memory.
Beside the time on the wall stands the time of the processor, which other programs on the machine
do not lengthen (much: they empty its caches).
"""

import argparse
import itertools
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from unvanish.lab.judging import judged
from unvanish.lab.looking import look
from unvanish.lab.measure import measure, pictured
from unvanish.lab.settings import Settings
from unvanish.recording.layout import to_json

BARS = {30: 200.0, 200: 1000.0}
"""Milliseconds to the picture that the median at a depth should not exceed."""
WIDTH = 32
ROUNDS = 15
KINDS: dict[str, dict[str, Any]] = {
    "sigmoid, Xavier": {"activation": "sigmoid"},
    "ReLU, He": {"activation": "relu", "initialisation": "he"},
    "tanh, orthogonal": {"activation": "tanh", "initialisation": "orthogonal"},
    "ReLU, ours": {"activation": "relu", "initialisation": "ours"},
    "GELU, layer norm, x + f(x)": {"activation": "gelu", "norm": "layer", "skip": "sum"},
}
TIMES: dict[str, dict[str, Any]] = {
    "RNN, 60 steps": {"cell": "rnn", "activation": "tanh", "steps": 60},
    "LSTM, 60 steps": {"cell": "lstm", "steps": 60},
    "LSTM, 200 steps": {"cell": "lstm", "steps": 200},
}


def answers(settings: Settings, rounds: int) -> list[list[tuple[float, float]]]:
    """For each of some answers: milliseconds on the wall and of the processor, to both parts."""
    found: list[list[tuple[float, float]]] = []
    for seed in range(rounds):
        state = replace(settings, seed=seed)
        started = clocks()
        seen = look(state)
        to_json(pictured(state, seen))
        drawn = clocks()
        to_json(judged(state, seen))
        ends = drawn, clocks()
        found.append([(end[0] - started[0], end[1] - started[1]) for end in ends])
    return found


def clocks() -> tuple[float, float]:
    """Milliseconds on the wall and of the processor."""
    return 1000 * time.perf_counter(), 1000 * time.process_time()


def figures(taken: Sequence[tuple[float, float]]) -> dict[str, float]:
    """Of one part, in milliseconds."""
    walls, processors = ([one[side] for one in taken] for side in (0, 1))
    return {
        "wall_median_ms": round(statistics.median(walls), 1),
        "wall_least_ms": round(min(walls), 1),
        "processor_median_ms": round(statistics.median(processors), 1),
    }


def rows(rounds: int) -> Iterator[dict[str, Any]]:
    """One row for each kind of net."""
    layered = itertools.product(BARS, KINDS.items())
    kinds = [
        (f"{name}, depth {depth}", depth, {**change, "depth": depth})
        for depth, (name, change) in layered
    ]
    kinds += [(name, None, change) for name, change in TIMES.items()]
    for name, depth, change in kinds:
        settings = Settings(width=WIDTH, **change)
        measure(replace(settings, seed=99))  # data and tables are loaded by the first
        pictures, verdicts = zip(*answers(settings, rounds), strict=True)
        yield {
            "net": name,
            "depth": depth,
            "bar_ms": BARS.get(depth) if depth else None,
            "picture": figures(pictures),
            "verdict": figures(verdicts),
            "answers": rounds,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--record", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    before = os.getloadavg()[0]
    found = []
    for row in rows(arguments.rounds):
        found.append(row)
        sys.stdout.write(f"{json.dumps(row)}\n")
        sys.stdout.flush()
    conditions = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "processors": os.cpu_count(),
        "load_before": round(before, 1),
        "load_after": round(os.getloadavg()[0], 1),
        "width": WIDTH,
        "batch": 64,
    }
    if arguments.record:
        record = {"conditions": conditions, "rows": found}
        arguments.record.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
