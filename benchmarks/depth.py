"""How deep can an untouched net be and still learn? Initialisations side by side.

    python benchmarks/depth.py --table depth --depths 10 100 --seeds 5
    python benchmarks/depth.py --table activations --seeds 5
    python benchmarks/depth.py --table convolutions --seeds 5
    python benchmarks/depth.py --table textbook --seeds 5
    python benchmarks/depth.py --table transformers --seeds 5
    python benchmarks/depth.py --table recurrences --seeds 5
    python benchmarks/depth.py --table init-cost
    python benchmarks/depth.py --plot
    python benchmarks/depth.py --report

Every contestant gets the same budget: three learning rates tried on one seed and judged on a
validation part, then the best one on every seed, trained on both these parts and judged on a test
part that no rate was chosen by. One seed is little to choose by: where rows are compared in tenths
of a point, ``--search 3`` tries the rates on three, for all of them.
Records (``benchmarks/records/depth-TABLE.json``) are resumable; the report in
``benchmarks/records/depth.md`` is written anew from all of them, the plot in ``depth.svg`` from
``depth-depth.json``.
"""

import argparse
import itertools
import json
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from depth_runs import init_cost, plot
from depth_runs.cell import FACTORS, Cell
from depth_runs.tables import TABLES

import unvanish

RECORDS = Path(__file__).parent / "records"
SEARCHED = 1000
"""The search runs on seed 0, 1000, 2000: on none of those that count."""
Record = dict[str, Any]


def fill(record: Record, cell: Cell, seeds: int, search: int, save: Callable[[], None]) -> None:
    """The search on ``search`` seeds, then the chosen rate on others; what is there is kept."""
    row = record["rows"].setdefault(cell.key, {"search": {}, "runs": {}})
    for factor, number in itertools.product(FACTORS, range(search)):
        if searched(factor, number) not in row["search"]:
            row["search"][searched(factor, number)] = cell.run(factor, SEARCHED * number)
            save()
    # Without a search (the deepest nets) the middle rate alone is run.
    chosen = max(FACTORS, key=lambda factor: at(row, factor)) if search else 1.0
    row["runs"] = {s: run for s, run in row["runs"].items() if run["rate"] == chosen * cell.center}
    for seed in range(1, seeds + 1):
        if str(seed) not in row["runs"]:
            row["runs"][str(seed)] = cell.run(chosen, seed, refit=True)
            save()


def searched(factor: float, number: int) -> str:
    """The name of one run of the search in the record."""
    return f"{factor:.3g}" + (f", again {number}" if number else "")


def at(row: Record, factor: float) -> float:
    """Mean accuracy on the validation part of all runs at this rate."""
    name = f"{factor:.3g}"
    found = [v["validation"] for k, v in row["search"].items() if k.partition(",")[0] == name]
    return statistics.fmean(found)


def table(record: Record) -> list[str]:
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
        seconds = statistics.median(run.get("processor_seconds", run["seconds"]) for run in runs)
        shown = [f"{v:.1f}" for v in (statistics.fmean(found), min(found), max(found))]
        rest = [str(len(runs)), *shown, f"{runs[0]['rate']:.1e}", f"{seconds:.0f}"]
        lines.append("| " + " | ".join([*name.split(" | "), *rest]) + " |")
    return lines


def measured(record: Record) -> list[str]:
    """What was read off without training, one line each."""
    found: dict[str, dict[str, float]] = record.get("measured", {})
    lines = [
        f"- {name}: " + ", ".join(f"{what.replace('_', ' ')} {value:.4g}" for what, value in figures.items())
        for name, figures in found.items()
    ]  # fmt: skip
    return [*lines, ""] if lines else []


def report(records: Path) -> str:
    """All tables there are, in Markdown."""
    lines = ["# Depth", "", *(__doc__ or "").strip().splitlines()[:1], ""]
    for name, about in TABLES.items():
        path = records / f"depth-{name}.json"
        if path.exists():
            record = json.loads(path.read_text())
            lines += [f"## {name}", "", *(f"    {c}" for c in record["commands"]), ""]
            lines += [" ".join(about.note.split()), ""] if about.note else []
            lines += [*measured(record), *table(record), ""]
    if (records / "depth.svg").exists():
        lines += ["![Test accuracy against depth](depth.svg)", ""]
    lines += [
        "Test accuracy in per cent. Every row: three learning rates on seed 0 (on three where the "
        "command says --search 3), judged on the validation part; the best one on each of the "
        "seeds, trained on both and judged on the test part. With --no-search: the middle rate. "
        "Seconds are the processor's (the clock's in runs that did not note them). A run ends early "
        "where its loss is no longer finite; and, in rows run since that was added (activations and "
        "transformers on their second tasks, most of 1,000 layers and more), where at three tenths "
        "of its steps in a row all samples get the same answer but for rounding."
    ]
    return "\n".join(lines) + "\n"


def write_report(records: Path) -> None:
    (records / "depth.md").write_text(report(records))


def facts() -> dict[str, str]:
    return {
        "unvanish": unvanish.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": "CPU, 1 thread",
    }


def command() -> str:
    return "python " + shlex.join(["benchmarks/depth.py", *sys.argv[1:]])


def run_table(options: argparse.Namespace) -> None:
    path = options.records / f"depth-{options.table}.json"
    record: Record = json.loads(path.read_text()) if path.exists() else {"rows": {}}
    record.setdefault("commands", [])
    record["commands"] += [c for c in [command()] if c not in record["commands"]]
    record["facts"] = facts()
    about = TABLES[options.table]

    def save() -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record, indent=0) + "\n")

    for measurement in about.measurements():
        if options.only in measurement.name:
            record.setdefault("measured", {})[measurement.name] = measurement.read()
            save()
    cells = [cell for cell in about.cells(options) if options.only in cell.key]
    started = time.time()
    for number, cell in enumerate(cells, 1):
        fill(record, cell, options.seeds, 0 if options.no_search else options.search, save)
        print(f"\r{number}/{len(cells)} {time.time() - started:.0f} s", end="", file=sys.stderr)
    print(file=sys.stderr)
    save()
    write_report(options.records)
    print("\n".join([*measured(record), *table(record)]))


def run_init_cost(options: argparse.Namespace) -> None:
    record = {"command": command(), **facts(), "models": init_cost.costs(options.seeds)}
    (options.records / "init-cost-cpu.json").write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record["models"], indent=1))


def draw_plot(options: argparse.Namespace) -> None:
    record = json.loads((options.records / "depth-depth.json").read_text())
    (options.records / "depth.svg").write_text(plot.drawing(record))
    write_report(options.records)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--table", choices=[*TABLES, "init-cost"])
    what.add_argument("--plot", action="store_true", help="draw depth.svg from its record")
    what.add_argument("--report", action="store_true", help="write depth.md from the records")
    parser.add_argument("--depths", type=int, nargs="*", default=[10, 100])
    parser.add_argument("--seeds", type=int, default=5, help="of init-cost: rounds")
    parser.add_argument("--search", type=int, default=1, help="seeds that each rate is tried on")
    parser.add_argument("--no-search", action="store_true", help="the middle rate, untried")
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument("--records", type=Path, default=RECORDS, help="where records are kept")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.plot:
        draw_plot(options)
    elif options.report:
        write_report(options.records)
    elif options.table == "init-cost":
        run_init_cost(options)
    else:
        run_table(options)


if __name__ == "__main__":
    main()
