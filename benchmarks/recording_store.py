"""How large a recording becomes, what a step costs the training, and how fast it is read again.

    python benchmarks/recording_store.py [--record benchmarks/records/recording-store.json]

The size curve: 100,000 steps, every statistic at every step and the histogram at every tenth, once
within the default limit and once far beyond one. The case of 10,000 tensors by 100,000 steps (32 GB
unthinned, without histograms) is run with a fiftieth of both the tensors and the limit, which
keeps about as many steps (fewer: scalars and names do not shrink with the tensors), and at full
width for as many steps as pass the limit more than twice.
"""

import argparse
import json
import os
import platform
import sqlite3
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from recording_kills import HISTOGRAM, MOMENTS

from unvanish.recording import Recording, StepReading, TensorEntry, Writer

MIB = 1 << 20
CASES: list[dict[str, Any]] = [
    {"tensors": 20, "steps": 100_000, "limit": 1024 * MIB, "histogram_every": 10},
    {"tensors": 200, "steps": 100_000, "limit": 1024 * MIB // 50, "histogram_every": 10},
    {"tensors": 10_000, "steps": 8_000, "limit": 1024 * MIB, "histogram_every": 0},
]


def readings(tensors: int, random: np.random.Generator) -> tuple[list[dict[str, Any]], list[Any]]:
    """A few different steps, to be written again and again: drawing numbers is no part of it."""
    values = [
        {name: random.lognormal(size=tensors).astype(np.float32) for name in MOMENTS}
        for _ in range(4)
    ]
    level = random.normal(-8, 2, size=(tensors, 400))
    bins = np.clip(np.floor(level + random.normal(size=level.shape) * 2) + 50, 0, 63).astype(int)
    rows = np.repeat(np.arange(tensors), bins.shape[1])
    counts = np.zeros((tensors, 64), np.uint32)
    np.add.at(counts, (rows, bins.reshape(-1)), 1)
    return values, [counts, counts * 3]


def curve(tensors: int, steps: int, limit: int, histogram_every: int) -> dict[str, Any]:
    """Write it, note the size on the way, read it again."""
    random = np.random.default_rng(0)
    values, counts = readings(tensors, random)
    entries = [
        TensorEntry(name=f"layers.{i}", shape=(64, 64), dtype="float32") for i in range(tensors)
    ]
    with tempfile.TemporaryDirectory() as folder:
        writer = Writer(Path(folder), entries, {}, limit_bytes=limit)
        spent: list[float] = []
        sizes: dict[int, float] = {}
        begun = time.perf_counter()
        for step in range(steps):
            histogram = histogram_every and step % histogram_every == 0
            reading = StepReading(
                step=step,
                seconds=step / 50,
                stage="unscaled unclipped whole",
                values=values[step % 4],
                histogram=counts[step % 2] if histogram else None,
                scalars={"loss": 1 / (step + 1), "learning_rate": 0.1, "step_seconds": 0.02},
            )
            before = time.perf_counter()
            writer.write(reading)
            spent.append(time.perf_counter() - before)
            if step % max(1, (steps // 400)) == 0:  # written faster than any training: wait for it
                writer.flush()
            if (step + 1) % (steps // 20) == 0:
                writer.flush()
                sizes[step + 1] = round(on_disk(writer.path) / MIB, 2)
        writer.close()
        seconds = time.perf_counter() - begun
        final = writer.path.stat().st_size
        if writer.failed:
            raise SystemExit(writer.failed)
        return {
            "tensors": tensors,
            "steps": steps,
            "limit_mib": round(limit / MIB, 2),
            "histogram_every": histogram_every,
            "mib_after_steps": sizes,
            "mib_most": max([*sizes.values(), round(final / MIB, 2)]),
            "microseconds_in_write_median": round(statistics.median(spent) * 1e6, 1),
            "steps_a_second_through_the_disk": round(steps / seconds),
        } | read_again(writer.path)


def on_disk(path: Path) -> int:
    """Bytes of the file and of what SQLite keeps beside it."""
    return sum(place.stat().st_size for place in path.parent.glob(path.name + "*"))


def read_again(path: Path) -> dict[str, Any]:
    with Recording.open(path) as recording:
        begun = time.process_time()
        steps, _ = recording.values("gradient_l2", recording.tensors[0])
        one = time.process_time() - begun
        begun = time.process_time()
        recording.matrix("gradient_l2", at_most=200)
        table = time.process_time() - begun
        spacing = np.diff(steps)
        has_histogram = HISTOGRAM in recording.statistics
        histograms = recording.values(HISTOGRAM, recording.tensors[0])[0] if has_histogram else []
        return {
            "thinned": recording.thinned,
            "lost": recording.lost,
            "steps_with_scalars": len(recording.steps),
            "steps_with_readings": len(steps),
            "steps_with_histograms": len(histograms),
            "largest_gap": int(spacing.max()),
            "gaps_in_the_last_1000": int((spacing[-999:] > 1).sum()),
            "cpu_milliseconds_one_curve": round(one * 1e3, 1),
            "cpu_milliseconds_heat_map_of_200_steps": round(table * 1e3, 1),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--record", type=Path)
    parser.add_argument("--case", type=int, action="append", help="Only these cases.")
    options = parser.parse_args()
    rows = []
    for index, case in enumerate(CASES):
        if not options.case or index in options.case:
            rows.append(curve(**case))
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    figures = {
        "what": "size, cost and reading of a recording",
        "machine": f"{os.cpu_count()} CPU cores, {platform.system()}, Python {platform.python_version()}"
        f", SQLite {sqlite3.sqlite_version}",
        "cases": rows,
    }
    if options.record:
        options.record.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
