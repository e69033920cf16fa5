"""The labelled corpus: broken programs, their healthy twins, and healthy ones that look ill."""

from corpus import (
    generated,
    graded,
    loops,
    outcome,
    quiet,
    quiet_by_intent,
    signal_flow,
    signal_start,
    stepping,
    wiring,
)
from corpus.case import CAUSES, EXACT, Case, Drawn

PROGRAMS: tuple[Case, ...] = (
    *signal_start.CASES,
    *signal_flow.CASES,
    *wiring.CASES,
    *outcome.CASES,
    *stepping.CASES,
    *loops.CASES,
    *quiet.CASES,
    *quiet_by_intent.CASES,
    *generated.CASES,
)


def twin(case: Case) -> Case:
    """The healthy twin of a broken program, as a healthy program of its own."""
    return Case(
        f"twin: {case.name}",
        case.architecture,
        lambda seed, broken: Drawn(case.build(seed, False).program),
        generated=case.generated,
        training=case.training,
    )


CASES = (
    *PROGRAMS,
    *(twin(case) for case in PROGRAMS if not case.healthy and case.twinned),
    *graded.CASES,
)

__all__ = ["CASES", "CAUSES", "EXACT", "PROGRAMS", "Case", "Drawn"]
