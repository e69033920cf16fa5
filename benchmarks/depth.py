"""How deep can an untouched net be and still learn? Initialisations side by side.

    python benchmarks/depth.py --table depth --depths 10 100 --seeds 5
    python benchmarks/depth.py --table activations --seeds 5
    python benchmarks/depth.py --table convolutions --seeds 5

Every contestant gets the same budget: three learning rates tried on one seed and judged on a
validation part, then the best one on every seed, trained on both these parts and judged on a test
part that nothing was chosen by.
Records (``benchmarks/records/depth-TABLE.json``) are resumable; the report in
``benchmarks/records/depth.md`` is written anew from all of them.
"""

import argparse
import json
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from depth_runs import nets
from depth_runs.contestants import CONTESTANTS, OURS, Prepare
from depth_runs.tasks import TASKS, Task
from depth_runs.training import train
from torch import nn

import unvanish

RECORDS = Path(__file__).parent / "records"
FACTORS = (1 / 3, 1.0, 3.0)
STEPS = {"digits": 300, "spirals": 600}


@dataclass(frozen=True, slots=True)
class Cell:
    """One line of a table: a net, who initialises it, a task, an optimizer."""

    name: str
    task: str
    depth: int
    optimizer: str
    build: Callable[[Task], nn.Module]
    prepare: Prepare

    @property
    def center(self) -> float:
        """The middle of the three learning rates: it falls with depth, for every contestant."""
        return (0.1 if self.optimizer == "sgd" else 0.03) / self.depth

    def run(self, factor: float, seed: int, refit: bool = False) -> dict[str, float]:
        task = TASKS[self.task]()
        made = lambda: self.prepare(self.build(task), task)  # noqa: E731
        rate = factor * self.center
        steps = STEPS[self.task]
        return {"rate": rate, **train(made, task, self.optimizer, rate, steps, seed, refit)}


def depth_cells(options: argparse.Namespace) -> Iterator[Cell]:
    for depth in options.depths:
        for task in ("digits", "spirals"):
            for name, prepare in CONTESTANTS.items():
                yield Cell(name, task, depth, "adam", mlp(depth, "relu"), prepare)


def activation_cells(options: argparse.Namespace) -> Iterator[Cell]:
    for optimizer in ("adam", "sgd"):
        for activation in nets.ACTIVATIONS:
            for name in (OURS, "torch's default"):
                build = mlp(100, activation)
                label = f"{activation}, {name}"
                yield Cell(label, "digits", 100, optimizer, build, CONTESTANTS[name])


def convolution_cells(options: argparse.Namespace) -> Iterator[Cell]:
    for depth in (20, 56):
        plain = lambda task, depth=depth: nets.plain_cnn(depth, task.classes)  # noqa: E731
        for name in ("torch's default", "He", OURS):
            yield Cell(f"plain, {name}", "digits", depth, "adam", plain, CONTESTANTS[name])
        for label, skip in (("plain with batch norm", False), ("residual twin", True)):
            build = lambda task, d=depth, s=skip: nets.normed_cnn(d, task.classes, s)  # noqa: E731
            yield Cell(label, "digits", depth, "adam", build, CONTESTANTS["torch's default"])


def mlp(depth: int, activation: str) -> Callable[[Task], nn.Module]:
    return lambda task: nets.mlp(task.train[0].shape[1], depth, task.classes, activation)


TABLES = {"depth": depth_cells, "activations": activation_cells, "convolutions": convolution_cells}


def key(cell: Cell) -> str:
    return f"{cell.name} | {cell.task} | {cell.depth} | {cell.optimizer}"


def fill(
    record: dict[str, Any], cell: Cell, seeds: int, search: bool, save: Callable[[], None]
) -> None:
    """The search on the first seed, then the chosen rate on every seed; what is there is kept."""
    row = record["rows"].setdefault(key(cell), {"search": {}, "runs": {}})
    # A single seed (the deepest nets) is run at the middle rate alone.
    for factor in FACTORS if search else ():
        if f"{factor:.3g}" not in row["search"]:
            row["search"][f"{factor:.3g}"] = cell.run(factor, 0)
            save()
    chosen = max(FACTORS, key=lambda f: row["search"][f"{f:.3g}"]["validation"]) if search else 1.0
    for seed in range(1, seeds + 1):
        if str(seed) not in row["runs"]:
            row["runs"][str(seed)] = cell.run(chosen, seed, refit=True)
            save()


def table(record: dict[str, Any]) -> list[str]:
    """Mean, least and largest test accuracy of each row, in per cent."""
    lines = [
        "| who | task | depth | optimizer | seeds | test accuracy | least | largest | rate | s a run |"
    ]
    lines.append("|---|---|--:|---|--:|--:|--:|--:|--:|--:|")
    for name, row in record["rows"].items():
        runs = list(row["runs"].values())
        if not runs:
            continue
        found = [100 * run["test"] for run in runs]
        seconds = statistics.median(run["seconds"] for run in runs)
        shown = [f"{v:.1f}" for v in (statistics.fmean(found), min(found), max(found))]
        rest = [str(len(runs)), *shown, f"{runs[0]['rate']:.1e}", f"{seconds:.0f}"]
        lines.append("| " + " | ".join([*name.split(" | "), *rest]) + " |")
    return lines


def write_report() -> None:
    lines = ["# Depth", "", *(__doc__ or "").strip().splitlines()[:1], ""]
    for name in TABLES:
        path = RECORDS / f"depth-{name}.json"
        if path.exists():
            record = json.loads(path.read_text())
            lines += [f"## {name}", "", *(f"    {c}" for c in record["commands"]), ""]
            lines += [*table(record), ""]
    lines += [
        "Test accuracy in per cent. Every row: three learning rates on seed 0, judged on the "
        "validation part; the best one on each of the seeds, trained on both and judged on the "
        "test part."
    ]
    (RECORDS / "depth.md").write_text("\n".join(lines) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", choices=list(TABLES), required=True)
    parser.add_argument("--depths", type=int, nargs="*", default=[10, 100])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--no-search", action="store_true", help="the middle rate, untried")
    parser.add_argument("--only", default="", help="rows whose name contains this")
    options = parser.parse_args()
    torch.set_num_threads(1)
    path = RECORDS / f"depth-{options.table}.json"
    record: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"rows": {}}
    command = "python " + shlex.join(["benchmarks/depth.py", *sys.argv[1:]])
    record.setdefault("commands", [])
    record["commands"] += [c for c in [command] if c not in record["commands"]]
    record["facts"] = {
        "unvanish": unvanish.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": "CPU, 1 thread",
    }

    def save() -> None:
        path.write_text(json.dumps(record, indent=0) + "\n")

    cells = [cell for cell in TABLES[options.table](options) if options.only in key(cell)]
    started = time.time()
    for number, cell in enumerate(cells, 1):
        fill(record, cell, options.seeds, not options.no_search, save)
        print(f"\r{number}/{len(cells)} {time.time() - started:.0f} s", end="", file=sys.stderr)
    print(file=sys.stderr)
    save()
    write_report()
    print("\n".join(table(record)))


if __name__ == "__main__":
    main()
