"""What an HTML report costs: seconds to build and bytes, for nets of 10, 1,000 and 10,000 layers.

    python benchmarks/report.py                 table on standard output
    python benchmarks/report.py --save FILE     also as JSON (the record beside this file)

The nets are stacks of tanh layers, initialised orthogonally; the observation is not part of the time. A
recording of 1,000 tensors and 300 steps is there as well. Bars: 1,000 layers in at most 1 s and 3 MB.
"""

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import unvanish
from unvanish.recording import Recording, StepReading, TensorEntry, Writer
from unvanish.recording.summarising import summarise
from unvanish.report.html import diagnosis_cell, diagnosis_page, recording_page

DEPTHS = (10, 1_000, 10_000)
ROUNDS = 5
MOST_SECONDS, MOST_BYTES = 1.0, 3_000_000


def diagnosis_of(depth: int) -> unvanish.Diagnosis:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for _ in range(depth):
        linear = nn.Linear(16, 16)
        nn.init.orthogonal_(linear.weight)
        layers += [linear, nn.Tanh()]
    batch = torch.randn(32, 16), torch.randint(2, (32,))
    return unvanish.diagnose(nn.Sequential(*layers, nn.Linear(16, 2)), batch, nn.CrossEntropyLoss())


def timed(build: Callable[[], str]) -> dict[str, Any]:
    """The first building, with everything it loads, and the median of the others."""
    seconds: list[float] = []
    text = ""
    for _ in range(ROUNDS + 1):
        start = time.perf_counter()
        text = build()
        seconds.append(time.perf_counter() - start)
    return {
        "first_seconds": round(seconds[0], 4),
        "seconds": round(statistics.median(seconds[1:]), 4),
        "bytes": len(text.encode()),
    }


def recorded(folder: Path, tensors: int = 1_000, steps: int = 300) -> None:
    entries = [TensorEntry(name=f"h.{i}.weight", shape=(16,), dtype="f") for i in range(tensors)]
    rng = np.random.default_rng(0)
    with Writer(folder, entries, {}) as writer:
        for step in range(steps):
            level = 10.0 ** rng.normal(-3, 1, tensors)
            values = {"gradient_rms": level.astype(np.float32)}
            writer.write(
                StepReading(step=step, seconds=float(step), stage="unscaled", values=values)
            )


def measure() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for depth in DEPTHS:
        diagnosis = diagnosis_of(depth)
        for what, build in (("page", diagnosis_page), ("cell", diagnosis_cell)):
            cost = timed(lambda build=build, diagnosis=diagnosis: build(diagnosis))
            rows.append({"what": f"{what}, {depth:,} layers", **cost})
    with tempfile.TemporaryDirectory() as folder:
        recorded(Path(folder))
        with Recording.open(folder) as recording:
            summary = summarise(recording)
            cost = timed(lambda: recording_page(recording, summary))
        rows.append({"what": "recording, 1,000 tensors, 300 steps", **cost})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--save", type=Path)
    arguments = parser.parse_args()
    rows = measure()
    sys.stdout.write(f"{'':38} {'first':>8} {'later':>8} {'size':>10}\n")
    for row in rows:
        sys.stdout.write(
            f"{row['what']:38} {row['first_seconds']:>6.3f} s {row['seconds']:>6.3f} s "
            f"{row['bytes'] / 1e3:>7.0f} kB\n"
        )
    judged = next(row for row in rows if row["what"] == "page, 1,000 layers")
    kept = judged["seconds"] <= MOST_SECONDS and judged["bytes"] <= MOST_BYTES
    if arguments.save:
        made = {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "machine": platform.machine(),
            "rounds": ROUNDS,
            "bars": {"seconds": MOST_SECONDS, "bytes": MOST_BYTES, "kept": kept},
            "rows": rows,
        }
        arguments.save.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    sys.exit(not kept)


if __name__ == "__main__":
    main()
