"""The record as readable tables: every judge beside ours on the same programs, with Wilson's intervals."""

import math
import statistics
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


OURS = "unvanish"


def beside_ours(rows: Rows, known: Rows, judge: str) -> list[str]:
    """A judge's line, and how many of the same programs ours brings to the twin's metric."""
    line = sick_line(judge, lines_of(rows, known, judge, "sick"))
    same = {name: row for name, row in rows.items() if judge in row}
    ours = share(near_twin(a, k) for a, k in lines_of(same, known, OURS, "sick"))
    return [*line[:2], "" if judge == OURS else ours, *line[2:]]


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
    kinds = kinds_in(name)
    return kinds[0] if len(kinds) == 1 else "several"


def kinds_in(name: str) -> list[str]:
    return name.split(" ", 2)[2].split("+")


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


def needless(rows: Rows, known: Rows, judge: str) -> list[str]:
    """The healthy programs that a judge changed, and what it did to them."""
    return [
        f"- {name}: {row[judge]['said']}; metric {row[judge]['metric']}, before {known[name]['ill']}"
        for name, row in rows.items()
        if judge in row and known.get(name, {}).get("label") == "well" and row[judge]["changed"]
    ]


def in_detail(rows: Rows, known: Rows, judge: str) -> list[str]:
    """One judge by kind of fault, on all that it has answered; what stayed ill, what was needless."""
    sick = [n for n in rows if judge in rows[n] and known.get(n, {}).get("label") == "sick"]
    groups = {kind: [n for n in sick if kind_of(n) == kind] for kind in map(kind_of, sick)}
    plain = {"depth", "time", "init"}
    groups["depth, time, init alone"] = [n for n in sick if set(kinds_in(n)) <= plain]
    groups["all"] = sick
    lines = [
        sick_line(kind, lines_of({n: rows[n] for n in names}, known, judge, "sick"))
        for kind, names in sorted(groups.items())
    ]
    return [
        f"## {judge}, on all that it has answered\n",
        markdown(("kind of fault", *SICK_HEAD[1:]), lines),
        "### Still ill\n",
        *misses(rows, known, judge),
        "\n### Healthy and changed\n",
        *needless(rows, known, judge),
    ]


def report(record: dict[str, Any], known: dict[str, Any], judges: list[str]) -> str:
    """The whole page."""
    labelled: Rows = known["rows"]
    every: Rows = {n: r for n, r in record["rows"].items() if labelled.get(n, {}).get("label")}
    judges = [j for j in judges if any(j in row for row in every.values())]
    by_intent = {n: row for n, row in every.items() if n.startswith("h")}
    harmless = {n: row for n, row in every.items() if not n.startswith("h")}
    text = [
        *head(record, known),
        markdown(
            (*SICK_HEAD[:2], f"{OURS} on the same programs", *SICK_HEAD[2:]),
            [beside_ours(every, labelled, judge) for judge in judges],
        ),
        "## Healthy by intent, many of which look ill\n",
        markdown(
            WELL_HEAD, [well_line(j, lines_of(by_intent, labelled, j, "well")) for j in judges]
        ),
        "## Mutated, and as good as the twin all the same\n",
        markdown(
            WELL_HEAD, [well_line(j, lines_of(harmless, labelled, j, "well")) for j in judges]
        ),
        "## Metric of the twin, by kind of fault and by net\n",
        grouped(every, labelled, judges, kind_of),
        grouped(every, labelled, judges, family_of),
    ]
    for judge in (j for j in judges if j.startswith("unvanish")):
        text += in_detail(every, labelled, judge)
    return "\n".join(text) + "\n"


def head(record: dict[str, Any], known: dict[str, Any]) -> list[str]:
    """How the record was made, and how to read it."""
    facts = record.get("facts", {})
    return [
        "# Treatment on the repair corpus\n",
        *(f"    {command}" for command in record["commands"]),
        f"\nunvanish {facts.get('unvanish')}, torch {facts.get('torch')}, {facts.get('device')}.\n",
        f"Labelled by training so far: {labels.summary(known['rows'])}.\n",
        "Below every judge on the programs that it has answered, and ours on the same ones.\n",
        "*Metric of the twin*: held-out metric within 2 points of the mean of the known-good "
        "twin's on all but one of the seeds. *The gate holds*: signal, gradient, angles and singular "
        "values keep their scale at the start, on all but one. *Got worse*: the mean over the "
        "seeds fell by more than 2 points. The twin from other initial values is no cure: its "
        "row shows what chance leaves of the bars. *Trainings*: full runs spent on the choice.\n",
    ]
