"""Runs every lesson, sick and cured, on five seeds; what came of it goes to docs/lessons/records.json.

python docs/lessons_record.py               # all of them, half an hour
python docs/lessons_record.py depth-decay   # one

The detector's lesson needs ultralytics.
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
from unvanish.languages import LANGUAGES, speaking
from unvanish.languages import gettext as _
from unvanish.lessons import ALL, lesson
from unvanish.lessons.practice import Practice, practise
from unvanish.lessons.teach import Teaching

RECORDS = Path(__file__).resolve().parent / "lessons" / "records.json"
SEEDS = 5
POINTS = 200
"""Layers kept of a deep net's profile: more than a picture can show."""
HEADINGS = (
    "Theory beside measurement",
    "Update to weight",
    "What if (tried on a copy)",
    "Ruled out",
    "Looks odd, is expected",
    "Not seen",
    "Tried on a copy",
    "Next",
    "Observed",
)
"""Of the report's parts that a page leaves out."""


def measured(page: str) -> dict[str, Any]:
    """Both programs of a lesson: reports, profiles and curves of seed 0, the outcome on every seed."""
    one = lesson(page)
    seeds: list[dict[str, Any]] = []
    shown: dict[str, Any] = {}
    for seed in range(SEEDS):
        teaching = Teaching(one, seed)
        found = {"sick": teaching.sick, "well": teaching.well}
        trained = {side: practise(getattr(one, side), one.steps, seed) for side in found}
        seeds.append({side: _outcome(found[side], trained[side]) for side in found})
        if seed == 0:
            shown = {side: _side(found[side], trained[side]) for side in found}
    return {"steps": one.steps, **shown, "seeds": seeds}


def _outcome(diagnosis: unvanish.Diagnosis, practice: Practice) -> dict[str, Any]:
    first = diagnosis.findings[0].name if diagnosis.findings else None
    return {
        "first": first,
        "healthy": diagnosis.healthy,
        "start": _short(practice.losses[0]),
        "end": _short(practice.losses[-1]),
        "unseen": _short(practice.unseen),
        "right": practice.right if practice.right is None else round(practice.right, 4),
        "moved": practice.moved,
    }


def _side(diagnosis: unvanish.Diagnosis, practice: Practice) -> dict[str, Any]:
    times = time_profiles(diagnosis.trace.profiles)
    depth = [layer.norm for layer in reversed(diagnosis.trace.layers)]
    return {
        "findings": [finding.name for finding in diagnosis.findings],
        "reports": {language: _report(diagnosis, language) for language in LANGUAGES},
        "depth": [_short(norm) for norm in depth[:: max(1, len(depth) // POINTS)]],
        "time": [_short(norm) for norm in times[0].norms] if times else [],
        "losses": [_short(loss) for loss in practice.losses],
        "unseen": _short(practice.unseen),
        "right": practice.right if practice.right is None else round(practice.right, 4),
        "moved": practice.moved,
        "tensors": practice.tensors,
    }


def _report(diagnosis: unvanish.Diagnosis, language: str) -> str:
    """Verdict, findings and picture, without what follows them."""
    with speaking(language):
        text = str(diagnosis)
        ends = [text.find(f"\n{_(heading)}\n") for heading in HEADINGS]
    return text[: min((end for end in ends if end >= 0), default=len(text))].strip()


def _short(number: float | None) -> float | None:
    """Four figures; ``None`` for what is no number."""
    return float(f"{number:.4g}") if number is not None and math.isfinite(number) else None


def main(names: list[str]) -> None:
    """Measure ``names`` (none: all), keep the rest of the record."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    RECORDS.parent.mkdir(exist_ok=True)
    kept = json.loads(RECORDS.read_text("utf-8")) if RECORDS.exists() else {}
    for name in names or [one.page for one in ALL]:
        kept[name] = measured(name)
        lines = [f" {json.dumps(key)}: {json.dumps(kept[key], ensure_ascii=False)}" for key in kept]
        RECORDS.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
