"""Writes docs/claims.md: what is taught about vanishing gradients, beside what was measured here.

python docs/claims.py

Numbers come from benchmarks/records and from docs/experiments/records.json, which
docs/experiments/record.py writes.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "claims.md"
VERDICTS = ("true", "half true", "not so")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One sentence of the textbooks: where it is measured, the numbers, what is left of it.

    ``experiments`` are files of docs/experiments, ``records`` of benchmarks/records, ``lessons``
    findings whose lesson shows it.
    """

    said: str
    number: Callable[[], str]
    verdict: str
    why: str
    experiments: tuple[str, ...] = ()
    records: tuple[str, ...] = ()
    lessons: tuple[str, ...] = ()


@cache
def _read(path: str) -> Any:
    return json.loads((ROOT / path).read_text("utf-8"))


def at(experiment: str, what: str) -> float:
    """One number of an experiment."""
    return _read("docs/experiments/records.json")[experiment][what]


def show(number: float) -> str:
    """Three figures; powers of ten where there are many noughts."""
    if number and not 1e-3 <= abs(number) < 1e5:
        digits, power = f"{number:.1e}".split("e")
        return f"{digits}e{int(power)}"
    return f"{number:.3g}"


def accuracy(table: str, row: str) -> str:
    """The mean test accuracy of a contestant of benchmarks/depth.py over its seeds."""
    runs = _read(f"benchmarks/records/depth-{table}.json")["rows"][row]["runs"].values()
    return f"{100 * fmean(run['test'] for run in runs):.1f} %"


def pair(part: str, without: str, task: str) -> str:
    """What a part of unvanish.nn brings over its twin without it, in points, and won/lost seeds."""
    for row in _read("benchmarks/records/nn-parts.json")["pairs"]:
        if (row["part"], row["without"], row["task"]) == (part, without, task):
            wins, losses = row["wins"], row["losses"]
            return f"{100 * row['difference']:+.1f} ({wins} won, {losses} lost)"
    raise KeyError(f"{part} / {without} / {task} is not in nn-parts.json")


def page() -> str:
    """The text of the page."""
    from claims_list import CLAIMS

    rows = [
        f"| {number} | **{claim.said}**<br>{_places(claim)} | {claim.number()} "
        f"| **{claim.verdict}**: {claim.why} |"
        for number, claim in enumerate(CLAIMS, 1)
    ]
    counted = {v: sum(claim.verdict == v for claim in CLAIMS) for v in VERDICTS}
    return "\n".join(
        [
            "# What is taught, and what was measured",
            "",
            "<!-- Written by docs/claims.py from docs/claims_list.py and the records. -->",
            "",
            "Articles, study notes and glossaries tell the same story about vanishing gradients. "
            "Each of its sentences can be run. Here is every one, the experiment that measures it, "
            "the number, and what is left of it: "
            f"{counted['true']} are true, {counted['half true']} half true and "
            f"{counted['not so']} not so.",
            "",
            "Experiments take seconds (`python docs/experiments/record.py NAME`, numbers in "
            "[records.json](experiments/records.json), torch "
            f"{_read('docs/experiments/records.json')['facts']['torch']}); they are one seed of one "
            "net and show a mechanism. Where a sentence is about learning, a record of several "
            "seeds stands beside them, with its command. Decades are powers of ten between the "
            "gradient at the loss and at the input; negative is lost.",
            "",
            "| | it is said; measured by | number | verdict, and why |",
            "|--:|---|---|---|",
            *rows,
            "",
        ]
    )


def _places(claim: Claim) -> str:
    places = [f"[{name}](experiments/{name}.py)" for name in claim.experiments]
    places += [f"[{name}](../benchmarks/records/{name})" for name in claim.records]
    lessons = [f"[{name}](lessons/{name}.md)" for name in claim.lessons]
    return ", ".join(places) + (f"; try {', '.join(lessons)}" if lessons else "")


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
