"""Programs are killed at random moments while they record; what is left must open and be complete.

    python benchmarks/recording_kills.py [--kills 100] [--seed 0] [--record FILE.json]

Each child writes steps as fast as one of several rhythms allows and notes, in memory shared with
this program, when each call of ``write`` had returned. It is then killed (SIGKILL). Every recording
must open, pass SQLite's own check and give back every number to the bit; every step that was
noted more than one second before the kill must be there. In a third of the children the recording
is so small that it is being thinned when the kill comes; there, the last steps must be there.
"""

import argparse
import json
import mmap
import os
import platform
import random
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from unvanish.errors import BadInput
from unvanish.recording import STATISTICS, Recording, StepReading, TensorEntry, Writer

HISTOGRAM = "gradient_log2_histogram"
MOMENTS = [name for name in STATISTICS if name != HISTOGRAM]
MOST_STEPS = 1 << 18
SURELY_KEPT = 16
"""Of the last steps, as many as thinning leaves in the smallest recording."""
RHYTHMS: list[dict[str, Any]] = [
    {"tensors": 20, "pause": 0.0, "limit": 1 << 30},
    {"tensors": 200, "pause": 0.001, "limit": 1 << 30},
    {"tensors": 2000, "pause": 0.02, "limit": 1 << 30},
    {"tensors": 200, "pause": 0.3, "limit": 1 << 30},
    {"tensors": 200, "pause": -1.0, "limit": 1 << 30},
    {"tensors": 20, "pause": 0.0, "limit": 1 << 20},
    {"tensors": 200, "pause": 0.001, "limit": 2 << 20},
]


def values_of(step: int, tensors: int) -> np.ndarray:
    """Numbers that say which step they are of."""
    return (np.arange(tensors, dtype=np.float32) + np.float32(step)) / np.float32(7)


def counts_of(step: int, tensors: int) -> np.ndarray:
    return (np.arange(tensors * 64, dtype=np.uint32) // 8 + np.uint32(step)).reshape(tensors, 64)


def child(folder: Path, notes: Path, tensors: int, pause: float, limit: int) -> None:
    """Write until killed."""
    with notes.open("r+b") as file:
        times = np.frombuffer(mmap.mmap(file.fileno(), 0), dtype=np.float64)
    names = [TensorEntry(name=f"layers.{i}", shape=(4,), dtype="float32") for i in range(tensors)]
    writer = Writer(folder, names, {"pid": os.getpid()}, limit_bytes=limit)
    for step in range(MOST_STEPS):
        numbers = values_of(step, tensors)
        writer.write(
            StepReading(
                step=step,
                seconds=step / 3,
                stage="unscaled unclipped whole",
                values=dict.fromkeys(MOMENTS, numbers),
                histogram=counts_of(step, tensors) if step % 10 == 0 else None,
                scalars={"loss": 1 / (step + 1)},
            )
        )
        times[step] = time.monotonic()
        if pause >= 0:
            time.sleep(pause)
        else:  # a program that never lets go of the interpreter's lock
            sum(number * number for number in range(20_000))


def kill_one(folder: Path, rhythm: dict[str, Any], moment: float) -> dict[str, Any]:
    """Start a child, kill it ``moment`` seconds after it began to write, look at what is left."""
    folder.mkdir(parents=True)
    notes = folder / "notes"
    notes.write_bytes(bytes(8 * MOST_STEPS))
    run = folder / "run"
    given = [str(rhythm[key]) for key in ("tensors", "pause", "limit")]
    command = [sys.executable, __file__, "--child", str(run), str(notes), *given]
    with notes.open("r+b") as file:
        times = np.frombuffer(mmap.mmap(file.fileno(), 0), dtype=np.float64)
    process = subprocess.Popen(command)
    if moment < 0:  # while the program and its recording are still being made
        time.sleep(-moment)
    else:
        while not times[0] and process.poll() is None:
            time.sleep(0.002)
        time.sleep(moment)
    killed = time.monotonic()
    process.send_signal(signal.SIGKILL)
    process.wait()
    return judged(run, rhythm, np.array(times), killed)


def judged(run: Path, rhythm: dict[str, Any], times: np.ndarray, killed: float) -> dict[str, Any]:
    """What was written, what is there, what is missing."""
    written = int(np.count_nonzero(times))
    row: dict[str, Any] = {"written": written, "opened": True, "lost_s": 0.0, "thinned": False}
    try:
        recording = Recording.open(run)
    except BadInput as error:
        row["opened"] = written == 0 and "there is no recording" in str(error)
        return row | {"empty": True, "said": str(error)}
    with recording:
        steps = recording.steps
        row["thinned"] = bool(recording.thinned)
        row["whole"] = complete(recording, rhythm["tensors"], written)
    there = set(steps.tolist())
    due = range(max(0, written - SURELY_KEPT) if row["thinned"] else 0, written)
    missing = [step for step in due if step not in there]
    if missing:
        row["lost_s"] = round(killed - float(times[missing[0]]), 4)
    with sqlite3.connect(recording.path) as connection:
        row["whole"] &= connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    return row


def complete(recording: Recording, tensors: int, written: int) -> bool:
    """Every number that is there is the one that was written, every step has all of its numbers."""
    steps, losses = recording.scalars("loss") if written and len(recording.steps) else ([], [])
    good = len(steps) == len(recording.steps)
    good &= all(loss == 1 / (step + 1) for step, loss in zip(steps, losses, strict=True))
    if not len(recording.statistics):
        return good and not len(steps)
    last = f"layers.{tensors - 1}"
    for statistic in MOMENTS:
        read, values = recording.values(statistic, last)
        good &= bool(
            (values == (np.float32(tensors - 1) + read.astype("f4")) / np.float32(7)).all()
        )
        good &= bool(recording.thinned) or len(read) == len(steps)
    kept, table = recording.matrix(MOMENTS[0], at_most=20)
    good &= all(
        (row == values_of(step, tensors)).all() for step, row in zip(kept, table, strict=True)
    )
    read, counts = recording.values(HISTOGRAM, last)
    expected = [counts_of(int(step), tensors)[-1] for step in read]
    return good and all((row == is_).all() for row, is_ in zip(counts, expected, strict=True))


def many(kills: int, seed: int) -> list[dict[str, Any]]:
    """So many kills, at moments from before the first write until two seconds after it."""
    chosen = random.Random(seed)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as place:
        for index in range(kills):
            rhythm = RHYTHMS[index % len(RHYTHMS)]
            early = chosen.random() < 0.08
            moment = -chosen.uniform(0.05, 0.6) if early else chosen.uniform(0.0, 2.2)
            folder = Path(place, str(index))
            rows.append(kill_one(folder, rhythm, moment) | {"rhythm": index % len(RHYTHMS)})
            if sys.stderr.isatty() or index % 50 == 49:
                print(f"\r{index + 1}/{kills}", end="", file=sys.stderr, flush=True)
            subprocess.run(["rm", "-rf", str(folder)], check=True)
    return rows


def record(rows: list[dict[str, Any]], seed: int) -> dict[str, Any]:
    """The figures of all kills."""
    lost = sorted(row["lost_s"] for row in rows)
    return {
        "what": "programs killed by SIGKILL at a random moment while they recorded",
        "machine": f"{os.cpu_count()} CPU cores, {platform.system()}, Python {platform.python_version()}"
        f", SQLite {sqlite3.sqlite_version}",
        "kills": len(rows),
        "seed": seed,
        "opened": sum(row["opened"] for row in rows),
        "whole": sum(row.get("whole", True) for row in rows),
        "killed before there was a recording": sum(row.get("empty", False) for row in rows),
        "killed while old steps were being thinned": sum(row["thinned"] for row in rows),
        "steps written": sum(row["written"] for row in rows),
        "lost more than one second": sum(seconds > 1 for seconds in lost),
        "seconds lost": {
            "median": round(statistics.median(lost), 3),
            "99 %": round(lost[int(0.99 * (len(lost) - 1))], 3),
            "most": round(lost[-1], 3),
        },
        "rhythms": RHYTHMS,
        "bad": [row for row in rows if not row["opened"] or not row.get("whole", True)],
    }


def main() -> int:
    if sys.argv[1:2] == ["--child"]:
        run, notes, tensors, pause, limit = sys.argv[2:]
        child(Path(run), Path(notes), int(tensors), float(pause), int(limit))
        return 0
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--record", type=Path)
    options = parser.parse_args()
    figures = record(many(options.kills, options.seed), options.seed)
    said = json.dumps(figures, indent=1) + "\n"
    print(said)
    if options.record:
        options.record.write_text(said, encoding="utf-8")
    return int(bool(figures["bad"]) or figures["lost more than one second"] > 0)


if __name__ == "__main__":
    sys.exit(main())
