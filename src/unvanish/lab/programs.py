"""The program of a lesson, sick and cured, run for a page of the lab: both verdicts, both trainings."""

import math
from collections.abc import Iterator
from typing import Any

from unvanish.causes.time_profile import time_profiles
from unvanish.diagnosing import diagnose
from unvanish.diagnosis import Diagnosis
from unvanish.languages import speaking
from unvanish.lessons import lesson
from unvanish.lessons.lesson import Maker
from unvanish.lessons.practice import Practice, compared, practise
from unvanish.randomness import seeded
from unvanish.report.sections import verdict
from unvanish.report.sentences import sentence

FINDINGS = 3
"""Findings shown of each program."""


def examined(name: str, language: str) -> Iterator[dict[str, Any]]:
    """Messages: the diagnosis of either program as soon as it is made, then what training showed.

    Args:
        name: a page of ``unvanish.lessons``.
        language: of the sentences.

    Raises:
        BadInput: there is no such lesson, or it needs a package that is not there.
    """
    one = lesson(name)
    with speaking(language):
        for side, make in (("sick", one.sick), ("well", one.well)):
            yield {"side": side, **_told(_diagnosed(make))}
        sick, well = practise(one.sick, one.steps), practise(one.well, one.steps)
        yield {
            "rows": compared(sick, well),
            "sick": _losses(sick),
            "well": _losses(well),
        }


def _diagnosed(make: Maker) -> Diagnosis:
    with seeded(0):
        program = make(0)
    return diagnose(**program)


def _told(diagnosis: Diagnosis) -> dict[str, Any]:
    severity, said = verdict(diagnosis)
    times = time_profiles(diagnosis.trace.profiles)
    over_time = bool(times) and len(times[0].norms) > 1
    layers = [layer.norm for layer in reversed(diagnosis.trace.layers)]
    norms = times[0].norms if over_time else layers
    return {
        "verdict": {"severity": severity, "said": said},
        "findings": [sentence(f) for f in diagnosis.findings[:FINDINGS]],
        "axis": "time" if over_time else "depth",
        "levels": [_level(norm) for norm in norms],
    }


def _level(norm: float | None) -> float | None:
    """log10; nothing for what is zero or no number."""
    return math.log10(norm) if norm is not None and 0 < norm < math.inf else None


def _losses(practice: Practice) -> list[float | None]:
    return [loss if math.isfinite(loss) else None for loss in practice.losses]
