"""The labelled corpus: broken programs, their healthy twins, and healthy ones that look ill."""

from corpus import (
    generated,
    outcome,
    quiet,
    quiet_by_intent,
    signal_flow,
    signal_start,
    stepping,
    wiring,
)
from corpus.case import CAUSES, EXACT, Case, Drawn

CASES: tuple[Case, ...] = (
    *signal_start.CASES,
    *signal_flow.CASES,
    *wiring.CASES,
    *outcome.CASES,
    *stepping.CASES,
    *quiet.CASES,
    *quiet_by_intent.CASES,
    *generated.CASES,
)

__all__ = ["CASES", "CAUSES", "EXACT", "Case", "Drawn"]
