"""The verdict on a net of the lab: what needs experiments on copies, and so comes after the picture."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, overload

from unvanish.causes import CAUSES
from unvanish.causes.cause import Cause
from unvanish.diagnosing import examine
from unvanish.diagnosis import Diagnosis
from unvanish.experiments.bench import Bench
from unvanish.lab.data import loss_of
from unvanish.lab.looking import Look
from unvanish.lab.settings import Settings
from unvanish.probe.collector import collector_paused
from unvanish.report.sections import verdict
from unvanish.report.sentences import sentence
from unvanish.trace import Layer, Parameter, Trace

SHOWN: Final = 4
"""Findings that are told."""


def judged(
    settings: Settings, look: Look, wanted: Callable[[], bool] = lambda: True
) -> dict[str, Any] | None:
    """The verdict, what was found, and how far the first step moves each layer, the first one first.

    Args:
        settings: where the sliders stand.
        look: at the net that they describe.
        wanted: asked now and then; once it is false, the verdict is given up.

    Returns:
        Plain values for a page; ``None`` where it was given up.
    """
    started = time.perf_counter()
    optimizer = look.optimizer(settings)
    bench = Bench(look.net, look.batch, loss_of(settings), None, optimizer, settings.seed)
    try:
        with collector_paused():
            causes = _WhileWanted(CAUSES, wanted)
            diagnosis = examine(look.trace, bench, look.net, optimizer, causes)
    except _Unwanted:
        return None
    said, sentence_ = verdict(diagnosis)
    moved = {u.name: u.update_to_weight for u in diagnosis.updates}
    return {
        "verdict": {"severity": said, "said": sentence_},
        "findings": _findings(diagnosis),
        "updates": [moved.get(m.name) if m else None for m in matrices(look.trace)],
        "milliseconds": round(1000 * (time.perf_counter() - started), 1),
    }


def matrices(trace: Trace) -> list[Parameter | None]:
    """For each layer, the first one first: the first matrix of its own."""
    found = [p for p in trace.parameters if len(p.shape) > 1]
    places = {p.name: place for place, p in enumerate(found)}

    def own(layer: Layer) -> Parameter | None:
        known = [places[name] for name in layer.parameters if name in places]
        return found[min(known)] if known else None

    return [own(layer) for layer in reversed(trace.layers)]


def _findings(diagnosis: Diagnosis) -> list[dict[str, str]]:
    shown = [f for f in diagnosis.findings if f.name != "blind-spot"]
    return [
        {"name": f.name, "code": f.code, "severity": f.severity, "said": sentence(f)}
        for f in shown[:SHOWN]
    ]


class _Unwanted(Exception):
    """Nobody waits for this verdict any more."""


class _WhileWanted(Sequence[Cause]):
    """Causes that are handed out one by one for as long as somebody waits for what comes of them.

    An experiment can hardly be broken off, but between two causes it can be left at that.
    """

    def __init__(self, causes: Sequence[Cause], wanted: Callable[[], bool]) -> None:
        self._causes, self._wanted = causes, wanted

    def __iter__(self) -> Iterator[Cause]:
        for cause in self._causes:
            if not self._wanted():
                raise _Unwanted
            yield cause

    def __len__(self) -> int:
        return len(self._causes)

    @overload
    def __getitem__(self, index: int) -> Cause: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Cause]: ...

    def __getitem__(self, index: int | slice) -> Cause | Sequence[Cause]:
        return self._causes[index]
