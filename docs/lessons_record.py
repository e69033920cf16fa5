"""Runs every lesson, sick and cured, and writes what came of it to docs/lessons/records.json.

python docs/lessons_record.py               # all of them, some minutes
python docs/lessons_record.py depth-decay   # one
"""

import json
import math
import sys
import warnings
from pathlib import Path
from typing import Any

import torch

import unvanish
from unvanish.causes.time_profile import time_profiles
from unvanish.lessons import LESSONS, lesson
from unvanish.lessons.practice import STEPS, Practice, practise

RECORDS = Path(__file__).resolve().parent / "lessons" / "records.json"
LONGER = {"saturated-activation": 200}
"""Steps after which the cured program is well ahead."""
SHORTER = {"post-norm-depth": 20, "collapsed-signal": 30, "chaotic-signal": 60}
"""Deep nets, which learn in few steps."""
WORDS = (
    "\nTheory beside",
    "\nUpdate to weight",
    "\nWhat if",
    "\nRuled out",
    "\nLooks odd",
    "\nNot seen",
)


def measured(name: str) -> dict[str, Any]:
    """The diagnosis, the profile and the practice of both programs of a lesson."""
    one = lesson(name)
    teaching = unvanish.teach(name)
    steps = (LONGER | SHORTER).get(name, STEPS)
    return {
        "steps": steps,
        "sick": _side(teaching.sick, practise(one.sick, steps)),
        "well": _side(teaching.well, practise(one.well, steps)),
    }


def _side(diagnosis: unvanish.Diagnosis, practice: Practice) -> dict[str, Any]:
    text = str(diagnosis)
    ends = [text.index(word) for word in WORDS if word in text]
    times = time_profiles(diagnosis.trace.profiles)
    depth = [layer.norm for layer in reversed(diagnosis.trace.layers)]
    return {
        "findings": [finding.name for finding in diagnosis.findings],
        "report": text[: min(ends, default=len(text))].strip(),
        "depth": [_short(norm) for norm in depth],
        "time": [_short(norm) for norm in times[0].norms] if times else [],
        "losses": [_short(loss) for loss in practice.losses],
        "unseen": _short(practice.unseen),
        "right": practice.right if practice.right is None else round(practice.right, 4),
        "moved": practice.moved,
        "tensors": practice.tensors,
    }


def _short(number: float | None) -> float | None:
    """Four figures; ``None`` for what is no number."""
    return float(f"{number:.4g}") if number is not None and math.isfinite(number) else None


def main(names: list[str]) -> None:
    """Measure ``names`` (none: all), keep the rest of the record."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    RECORDS.parent.mkdir(exist_ok=True)
    kept = json.loads(RECORDS.read_text("utf-8")) if RECORDS.exists() else {}
    for name in names or [one.finding for one in LESSONS]:
        kept[name] = measured(name)
        lines = [f" {json.dumps(key)}: {json.dumps(kept[key])}" for key in kept]
        RECORDS.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
