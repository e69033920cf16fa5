"""Which programs are sick? Training says so: the program beside its known-good twin, five seeds.

A seed counts as sick where the held-out metric lies below the twin's by more than ``LEAST`` and by
more than chance explains: 1.645 standard errors of the paired difference over the held-out samples
(one-sided 5 %; the same samples are asked, and for accuracies it is never more than the binomial
error of two independent proportions). At four of five seeds chance alone then has 3 in 100,000.
"""

import math
import statistics
import time
from collections.abc import Sequence
from typing import Any

from repair.programs import Program
from repair.training import Run, run

SEEDS, ENOUGH = 5, 4
LEAST = 0.05
NEAR = 0.02 + 1e-9
"""Within so much of its twin a program counts as good as it (metrics are kept to four places)."""
CONFIDENT = 1.645


def margin(twin: Run, ill: Run) -> float:
    """The smallest difference between two runs that is neither small nor chance."""
    difference = twin.scores - ill.scores
    error = float(difference.std()) / math.sqrt(len(difference))
    return max(LEAST, CONFIDENT * error)


def learns(metric: float, zero: float) -> bool:
    """At least half the way from the best constant answer to a perfect one."""
    return metric - zero >= (1 - zero) / 2


def reaches(metrics: Sequence[float], twin: Sequence[float]) -> bool:
    """Within two points of the twin's mean on all seeds but one."""
    goal = statistics.fmean(twin) - NEAR
    return sum(metric >= goal for metric in metrics) >= max(len(metrics) - 1, 1)


def verdict(row: dict[str, Any]) -> str | None:
    """The label, ``None`` while seeds are missing.

    ``"sick"``, ``"well"`` (as good as its twin), ``"between"``, or ``"twin fails"``: it does not
    learn, or does not come near its own mean, and so cannot be what others are measured by.
    """
    if sum(not learns(metric, row["zero"]) for metric in row["twin"]) > SEEDS - ENOUGH:
        return "twin fails"
    if len(row["twin"]) < SEEDS:
        return None
    if not reaches(row["twin"], row["twin"]):
        return "twin fails"
    lost = zip(row["twin"], row["ill"], row["margin"], strict=True)
    if sum(twin - ill > least for twin, ill, least in lost) >= ENOUGH:
        return "sick"
    return "well" if reaches(row["ill"], row["twin"]) else "between"


def label(program: Program, row: dict[str, Any] | None = None) -> dict[str, Any]:
    """Train both on every seed that the label needs; goes on where an earlier row stopped."""
    row = row or {"of": program.fingerprint, "twin": [], "ill": [], "margin": [], "seconds": []}
    while "label" not in row:
        seed = len(row["twin"])
        started = time.process_time()
        twin = program.twin(seed)
        row["zero"] = round(twin.task.zero_skill, 4)
        good = run(twin, seed)
        ill = good if program.design == program.base else run(program.build(seed), seed)
        row["twin"].append(round(good.metric, 4))
        row["ill"].append(round(ill.metric, 4))
        row["margin"].append(round(margin(good, ill), 4))
        row["seconds"].append(round(time.process_time() - started, 2))
        found = verdict(row)
        if found is not None:
            row["label"] = found
    return row


def summary(rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """How many of each label, and processor seconds to train a program and its twin once."""
    labels = [row["label"] for row in rows.values() if "label" in row]
    seconds = [s for row in rows.values() for s in row["seconds"]]
    return {
        "programs": len(labels),
        **{name: labels.count(name) for name in ("sick", "well", "between", "twin fails")},
        "median seconds": round(statistics.median(seconds), 2) if seconds else None,
    }
