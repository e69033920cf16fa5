"""The record as readable tables: every judge on the same programs, with Wilson's intervals."""

import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from repair import labels
from repair.scoring import gain, gate_holds, near_twin, worse

Rows = dict[str, dict[str, Any]]
Line = tuple[dict[str, Any], dict[str, Any]]
"""An answer and the label of its program."""


def wilson(count: int, of: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's 95 % interval for a share (1927).

    >>> low, high = wilson(98, 100)
    >>> round(low, 3), round(high, 3)
    (0.93, 0.994)
    """
    if not of:
        return 0.0, 1.0
    share, room = count / of, z * z / of
    middle = (share + room / 2) / (1 + room)
    half = z * math.sqrt(share * (1 - share) / of + room / of / 4) / (1 + room)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def share(found: Iterable[bool]) -> str:
    listed = list(found)
    if not listed:
        return "-"
    low, high = wilson(sum(listed), len(listed))
    percent = f"{100 * sum(listed) / len(listed):.0f} % ({100 * low:.0f} to {100 * high:.0f})"
    return f"{sum(listed)}/{len(listed)} = {percent}"


def middle(found: Iterable[float], digits: int = 1) -> str:
    listed = list(found)
    return f"{statistics.median(listed):.{digits}f}" if listed else "-"


def markdown(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    text = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*text, *("| " + " | ".join(line) + " |" for line in lines)]) + "\n"


def lines_of(rows: Rows, known: Rows, judge: str, wanted: str) -> list[Line]:
    """The answers of a judge to the programs with this label."""
    return [
        (row[judge], known[name])
        for name, row in rows.items()
        if judge in row and name in known and known[name].get("label") == wanted
    ]


def repaired(answer: dict[str, Any], label: dict[str, Any]) -> bool:
    """The gate holds and the metric is the twin's."""
    return gate_holds(answer) and near_twin(answer, label)


def minimal(answer: dict[str, Any], label: dict[str, Any]) -> bool:
    """Repaired by the metric with the architecture as it was."""
    return near_twin(answer, label) and not answer["architecture"]


SICK_HEAD = (
    "judge",
    "sick programs: metric of the twin",
    "... and the gate holds",
    "... metric, architecture kept",
    "mean gain, points",
    "got worse",
    "crashed",
    "trainings",
    "processor s, median",
)


def sick_line(judge: str, lines: list[Line]) -> list[str]:
    gains = [100 * gain(a, k) for a, k in lines]
    return [
        judge,
        share(near_twin(a, k) for a, k in lines),
        share(repaired(a, k) for a, k in lines),
        share(minimal(a, k) for a, k in lines),
        f"{statistics.fmean(gains):+.1f}" if gains else "-",
        f"{sum(worse(a, k) for a, k in lines)}/{len(lines)}",
        str(sum(a["failed"] is not None for a, _ in lines)),
        middle(a["runs"] for a, _ in lines),
        middle(a["seconds"] for a, _ in lines),
    ]


WELL_HEAD = ("judge", "healthy programs changed", "got worse", "mean gain, points", "processor s")


def well_line(judge: str, lines: list[Line]) -> list[str]:
    return [
        judge,
        share(a["changed"] for a, _ in lines),
        f"{sum(worse(a, k) for a, k in lines)}/{len(lines)}",
        f"{statistics.fmean(100 * gain(a, k) for a, k in lines):+.1f}" if lines else "-",
        middle(a["seconds"] for a, _ in lines),
    ]


def grouped(rows: Rows, known: Rows, judges: list[str], group: Callable[[str], str]) -> str:
    """The share with the twin's metric, by what a program's name says."""
    names = [n for n in rows if known.get(n, {}).get("label") == "sick"]
    lines: list[list[str]] = []
    for kind in sorted({group(n) for n in names}):
        some = {n: rows[n] for n in names if group(n) == kind}
        cells = [lines_of(some, known, judge, "sick") for judge in judges]
        found = [f"{sum(near_twin(a, k) for a, k in c)}/{len(c)}" for c in cells]
        lines.append([kind, *found])
    return markdown(("sick by", *judges), lines)


def kind_of(name: str) -> str:
    kinds = name.split(" ", 2)[2]
    return kinds if "+" not in kinds else "several"


def family_of(name: str) -> str:
    return name.split(" ")[1]


def misses(rows: Rows, known: Rows, judge: str) -> list[str]:
    """The sick programs that stay ill under a judge, and what it did instead."""
    return [
        f"- {name}: {row[judge]['said']}; metric {row[judge]['metric']}, twin {known[name]['twin']}"
        + (f"; {row[judge]['failed']}" if row[judge]["failed"] else "")
        for name, row in rows.items()
        if judge in row
        and known.get(name, {}).get("label") == "sick"
        and not near_twin(row[judge], known[name])
    ]


def report(record: dict[str, Any], known: dict[str, Any], judges: list[str]) -> str:
    """The whole page."""
    every: Rows = record["rows"]
    judges = [j for j in judges if any(j in row for row in every.values())]
    rows = {n: row for n, row in every.items() if all(j in row for j in judges)}
    facts, counts = record.get("facts", {}), labels.summary(known["rows"])
    kinds = Counter(kind_of(n) for n in rows if known["rows"][n]["label"] == "sick")
    text = [
        "# Treatment on the repair corpus\n",
        *(f"    {command}" for command in record["commands"]),
        f"\nunvanish {facts.get('unvanish')}, torch {facts.get('torch')}, {facts.get('device')}.\n",
        f"Labelled by training so far: {counts}.\n",
        f"Below: the {len(rows)} programs that all of these judges have answered; sick ones by "
        f"kind: {dict(sorted(kinds.items()))}.\n",
        "*Metric of the twin*: held-out metric within 2 points of the known-good twin's on all but "
        "one of the seeds. *The gate holds*: signal, gradient, angles and singular values keep their "
        "scale at the start, on all but one. The twin from other initial values is no cure: its row "
        "shows what chance leaves of both bars. *Trainings*: full runs spent on the choice, beside "
        "which every judge's cure is trained on each seed.\n",
        markdown(
            SICK_HEAD, [sick_line(j, lines_of(rows, known["rows"], j, "sick")) for j in judges]
        ),
        markdown(
            WELL_HEAD, [well_line(j, lines_of(rows, known["rows"], j, "well")) for j in judges]
        ),
        grouped(rows, known["rows"], judges, kind_of),
        grouped(rows, known["rows"], judges, family_of),
    ]
    for judge in judges:
        if judge.startswith("unvanish"):
            text += [f"## Sick after {judge}\n", *misses(every, known["rows"], judge), ""]
    return "\n".join(text)
