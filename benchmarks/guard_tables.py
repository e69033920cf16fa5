"""The tables of docs/guard.md, from the record of the guard benchmark."""

import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from unvanish.trial.statistics import decide

PAGE = Path(__file__).parents[1] / "docs" / "guard.md"
BEGIN, END = "<!-- tables: written by benchmarks/guard.py -->", "<!-- end of tables -->"
LEAST_NOISE = 0.02
"""Two points of accuracy: below, no difference between two runs is called a loss."""

Run = dict[str, Any]


class Record:
    """The runs by what they are, and what counts as noise in each task."""

    def __init__(self, record: dict[str, Any]) -> None:
        self.record = record
        self.runs: dict[tuple[str, str, str, str, int], Run] = {}
        for key, run in record["runs"].items():
            task, fault, mode, *arm, seed = key.split(" ")
            self.runs[task, fault, mode, " ".join(arm), int(seed)] = run
        self.tasks = unique(key[0] for key in self.runs)
        self.faults = [name for name in record["faults"] if any(k[1] == name for k in self.runs)]
        self.arms = [arm for arm in record["arms"] if any(key[3] == arm for key in self.runs)]

    def of(self, task: str, fault: str, arm: str) -> dict[int, Run]:
        """The runs with this fault and arm by seed, in the mode that belongs to the fault."""
        found = [key for key in self.runs if (key[0], key[1], key[3]) == (task, fault, arm)]
        modes = {key[2] for key in found}
        mode = "single" if "single" in modes else next(iter(modes), "single")
        return {key[4]: self.runs[key] for key in found if key[2] == mode}

    def noise(self, task: str) -> float:
        """Twice the standard deviation of unfaulted runs over seeds, and at least two points."""
        well = [run["accuracy"] for run in self.of(task, "none", "nothing").values()]
        return max(LEAST_NOISE, 2 * statistics.stdev(well)) if len(well) > 1 else LEAST_NOISE

    def saved(self, task: str, fault: str, arm: str) -> tuple[int, int]:
        """Runs that ended no worse than the same run without the fault, and how many there are."""
        good = total = 0
        for key, run in self.runs.items():
            if (key[0], key[1], key[3]) != (task, fault, arm):
                continue
            twin = self.runs.get((task, "none", key[2], "nothing", key[4]))
            if twin is not None:
                total += 1
                good += run["accuracy"] >= twin["accuracy"] - self.noise(task)
        return good, total


def write_tables(record: dict[str, Any]) -> None:
    """Put the tables between their marks in docs/guard.md."""
    page = PAGE.read_text(encoding="utf-8")
    head, rest = page.split(BEGIN)
    _, tail = rest.split(END)
    PAGE.write_text(f"{head}{BEGIN}\n\n{tables(Record(record))}\n{END}{tail}", encoding="utf-8")


def tables(record: Record) -> str:
    """All tables as Markdown."""
    faults = [name for name in record.faults if name != "none"]
    seeds = sorted({key[4] for key in record.runs})
    lines = [
        f"{len(record.runs)} runs of {record.record['steps']} steps, seeds {seeds[0]} to {seeds[-1]}, "
        f"torch {record.record['torch']}, {record.record['seconds']:.0f} seconds of one CPU core. "
        + "Unfaulted accuracy and what counts as noise: "
        + "; ".join(f"{task} {healthy(record, task)}" for task in record.tasks)
        + ".",
        "",
        "**Runs saved**, of all tasks together:",
        "",
        *saved_table(record, faults),
        "",
        "**By task** (runs saved, and the mean accuracy in percent):",
        "",
        *[line for fault in faults for line in by_task(record, fault)],
        "**What it costs where nothing is wrong**: the difference in accuracy to the same run without the "
        "policy, in points, with its 95 % interval over seeds; in brackets the acts of a run. "
        "*same bits*: the weights at the end are those of the run without, bit for bit.",
        "",
        *cost_table(record),
    ]
    return "\n".join(lines)


def healthy(record: Record, task: str) -> str:
    accuracies = [run["accuracy"] for run in record.of(task, "none", "nothing").values()]
    return f"{100 * statistics.mean(accuracies):.1f} ± {100 * record.noise(task):.1f}"


def saved_table(record: Record, faults: list[str]) -> Iterable[str]:
    yield f"| policy | {' | '.join(faults)} |"
    yield f"|---|{'---|' * len(faults)}"
    for arm in record.arms:
        cells = []
        for fault in faults:
            counts = [record.saved(task, fault, arm) for task in record.tasks]
            good, total = (sum(column) for column in zip(*counts, strict=True))
            cells.append(f"{good}/{total}" if total else "–")
        yield f"| {arm} | {' | '.join(cells)} |"


def by_task(record: Record, fault: str) -> Iterable[str]:
    yield f"*{fault}*: {record.record['faults'][fault]}."
    yield ""
    yield f"| policy | {' | '.join(record.tasks)} |"
    yield f"|---|{'---|' * len(record.tasks)}"
    for arm in record.arms:
        cells = []
        for task in record.tasks:
            good, total = record.saved(task, fault, arm)
            runs = record.of(task, fault, arm).values()
            mean = 100 * statistics.mean(run["accuracy"] for run in runs) if runs else 0
            cells.append(f"{good}/{total} ({mean:.0f})" if total else "–")
        if any(cell != "–" for cell in cells):
            yield f"| {arm} | {' | '.join(cells)} |"
    yield ""


def cost_table(record: Record) -> Iterable[str]:
    yield f"| policy | {' | '.join(record.tasks)} |"
    yield f"|---|{'---|' * len(record.tasks)}"
    for arm in record.arms:
        if arm != "nothing":
            cells = [cost(record, task, arm) for task in record.tasks]
            yield f"| {arm} | {' | '.join(cells)} |"


def cost(record: Record, task: str, arm: str) -> str:
    plain, guarded = (record.of(task, "none", one) for one in ("nothing", arm))
    seeds = sorted(plain.keys() & guarded.keys())
    if seeds and all(plain[s]["weights"] == guarded[s]["weights"] for s in seeds):
        return "same bits"
    differences = [100 * (guarded[s]["accuracy"] - plain[s]["accuracy"]) for s in seeds]
    found = decide(differences, margin=100 * LEAST_NOISE, resolution=0.2)
    if found.interval is None:
        return "–"
    acts = statistics.mean(guarded[s]["acts"] for s in seeds)
    low, high = found.interval
    return f"{found.difference:+.1f} ({low:+.1f} to {high:+.1f}) [{acts:.0f}]"


def unique(values: Iterable[str]) -> list[str]:
    """Each once, in order."""
    return list(dict.fromkeys(values))
