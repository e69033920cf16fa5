"""The record of benchmarks/diagnosis.py as readable tables."""

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from corpus import Case

Rows = list[tuple[Case, str, dict[str, Any]]]


def rows_of(record: dict[str, Any], judge: str, cases: Sequence[Case]) -> Rows:
    answers = record["answers"].get(judge, {})
    return [
        (replace(c, cause=None) if c.graded and row["healthy"] else c, s, row)
        for c in cases
        for s, row in answers.get(c.name, {}).items()
    ]


def share(values: Iterable[bool]) -> str:
    listed = list(values)
    return (
        f"{sum(listed)}/{len(listed)} ({100 * sum(listed) / len(listed):.0f} %)" if listed else "-"
    )


def mean(values: Iterable[float]) -> str:
    listed = list(values)
    return f"{statistics.fmean(listed):.2f}" if listed else "-"


def summary(record: dict[str, Any], judge: str, cases: Sequence[Case]) -> list[str]:
    rows = rows_of(record, judge, cases)
    sick = [r for c, _, r in rows if not c.healthy]
    well = [r for c, _, r in rows if c.healthy]
    exact = [r for c, _, r in rows if c.exact]
    plain = record["plain_seconds"]
    ratios = [r["seconds"] / p for c, s, r in rows if (p := plain.get(c.name, {}).get(s))]
    points = sum(r["points"] for _, _, r in rows)
    best = len(sick)
    return [
        judge,
        f"{points:.1f} of {best}",
        share(r["named"] for r in sick),
        share(r["outcome"] == "right" for r in sick),
        share(r["outcome"] == "wrong" for r in sick),
        share(r["outcome"] == "quiet" and "failed" not in r for r in well),
        share(r["named"] for r in exact),
        share(r["outcome"] == "wrong" for r in exact),
        str(sum("failed" in r for _, _, r in rows)),
        f"{statistics.median(r['seconds'] for _, _, r in rows):.3f}" if rows else "-",
        f"{statistics.median(ratios):.0f}" if ratios else "-",
    ]


HEAD = (
    "judge",
    "points",
    "right name first",
    "right name and place",
    "wrong cause",
    "healthy without alarm",
    "exact causes found",
    "exact: wrong",
    "crashes",
    "median s",
    "× plain step",
)


def markdown(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    text = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*text, *("| " + " | ".join(line) + " |" for line in lines)])


def by_cause(record: dict[str, Any], judge: str, cases: Sequence[Case]) -> str:
    lines = []
    for cause in sorted({c.cause for c in cases if c.cause}):
        rows = [(c, s, r) for c, s, r in rows_of(record, judge, cases) if c.cause == cause]
        if rows:
            said = Counter((r["found"][0][0] if r["found"] else "nothing") for _, _, r in rows)
            words = ", ".join(f"{name} {count}" for name, count in said.most_common())
            named = share(r["named"] for _, _, r in rows)
            lines.append([cause, named, mean(r["points"] for _, _, r in rows), words])
    return markdown(("cause", "named first", "points", "what was said first"), lines)


def misses(record: dict[str, Any], judge: str, cases: Sequence[Case]) -> list[str]:
    """One line for each program that did not score fully, with what was said instead."""
    lines = []
    for case in cases:
        rows = [(s, r) for c, s, r in rows_of(record, judge, [case])]
        bad = [(s, r) for s, r in rows if r["points"] < (not r["healthy"]) or "failed" in r]
        if bad:
            seed, row = bad[0]
            said = "; ".join(
                f"{w}{'' if a else ' (note)'} at {', '.join(x)}" for w, a, x in row["found"]
            )
            wanted = "healthy" if row["healthy"] else case.cause
            failed = f" CRASH {row['failed']}" if "failed" in row else ""
            lines.append(
                f"{case.name} [{case.architecture}] {len(bad)}/{len(rows)} seeds, {row['outcome']}: "
                f"is {wanted}, said (seed {seed}): {said or 'nothing'}{failed}"
            )
    return lines


def in_common(record: dict[str, Any]) -> dict[str, Any]:
    """The record with only those programs and seeds that every judge has answered."""
    answered = [
        {(name, seed) for name, rows in answers.items() for seed in rows}
        for answers in record["answers"].values()
    ]
    common = set.intersection(*answered) if answered else set()
    answers = {
        judge: {
            name: {seed: row for seed, row in rows.items() if (name, seed) in common}
            for name, rows in given.items()
        }
        for judge, given in record["answers"].items()
    }
    return {**record, "answers": answers}


def not_twin(case: Case) -> bool:
    return not case.name.startswith("twin: ")


def groups(cases: Sequence[Case]) -> dict[str, list[Case]]:
    return {
        "All": list(cases),
        "Written by hand": [c for c in cases if not c.generated and not c.graded and not_twin(c)],
        "Held back (generated)": [c for c in cases if c.generated and not_twin(c)],
        "Healthy twins of the broken ones": [c for c in cases if not not_twin(c)],
        "Graded: any strength, training decides what is healthy": [c for c in cases if c.graded],
    }


def table(record: dict[str, Any], cases: Sequence[Case], checked: dict[str, Any]) -> str:
    facts = record.get("facts", {})
    judges = list(record["answers"])
    names = [c.name for c in cases]
    dropped = sum(not r["holds"] for n in names for r in checked.get(n, {}).values())
    sick = sum(not c.healthy for c in cases)
    text = [
        "# Diagnosis on the labelled corpus\n",
        "\n".join(f"    {command}" for command in record.get("commands", [])) + "\n",
        f"unvanish {facts.get('unvanish')}, torch {facts.get('torch')}, {facts.get('device')}.\n",
        f"{sick} broken and {len(cases) - sick} healthy programs "
        f"({sum(bool(c.suspicious) for c in cases)} of them look ill, "
        f"{sum(c.generated for c in cases)} of all are generated), seeds {facts.get('seeds')}; "
        f"{dropped} pairs of program and seed whose label training did not confirm are left out "
        "(`corpus_check.json`).\n",
        "Right cause first at the right place 1 point, among the first three (or misplaced) 0.5, "
        "missed 0, another cause with no right one among the first three -1, any alarm on a healthy "
        "program -1. Judges whose words are symptoms get every cause a symptom may mean, and the "
        "place for free (`benchmarks/baselines.py`).\n",
        "The authors of the causes knew the kinds of program and had read what was missed on seeds 100, "
        "101, 200 to 204, 500 to 505 and 700 to 702; no other was looked at. The graded programs, "
        "whose strength is drawn by lot, come nearest to programs that nobody knew.\n",
    ]
    same = in_common(record)
    lines = [summary(same, j, cases) for j in judges]
    text += ["## All judges on the same programs and seeds\n", markdown(HEAD, lines), ""]
    graded = [c for c in cases if c.graded]
    lines = [summary(same, j, graded) for j in judges]
    text += ["### ... of which graded: any strength, training decides\n", markdown(HEAD, lines), ""]
    own = [j for j in judges if j.startswith("unvanish")]
    for title, chosen in groups(cases).items():
        lines = [summary(record, j, chosen) for j in own]
        text += [f"## Ours: {title}\n", markdown(HEAD, lines), ""]
    for judge in own:
        text += [f"## {judge}: by cause\n", by_cause(record, judge, cases), ""]
        lines = misses(record, judge, cases)
        text += [f"## {judge}: what it gets wrong\n", *(f"- {line}" for line in lines), ""]
    return "\n".join(text)
