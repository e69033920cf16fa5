"""Programs of the treatment benchmark: healthy ones and labelled mutants, none made for alarms."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from repair.healthy import COUNT, healthy
from repair.mutations import candidate
from repair.programs import Program
from torch import Tensor

from alarm_runs.training import Training
from unvanish.recording import Event

LABELS = Path(__file__).parents[1] / "records" / "repair-labels.json"
Events = Callable[[Training, int], list[Event]]


def training(program: Program) -> Training:
    """Its first seed, batch after batch."""
    built = program.build(0)
    torch.manual_seed(0)

    def loss(step: int) -> Tensor:
        inputs, targets = built.data[step % len(built.data)]
        return built.loss(built.model(inputs), targets)

    return Training(model=built.model, optimizer=built.optimizer, loss=loss)


def unseen(every: int, steps: int, events: Events) -> dict[str, Any]:
    """Each of the mutants, every n-th of the healthy: how many were alarmed about, and by what."""
    rows = json.loads(LABELS.read_text(encoding="utf-8"))["rows"]
    programs = [("healthy", healthy(index)) for index in range(0, COUNT, every)]
    programs += [(row["label"], candidate(int(n[:4]))) for n, row in rows.items() if n[0] != "h"]
    runs: Counter[str] = Counter()
    alarmed: Counter[str] = Counter()
    said: dict[str, list[str]] = {}
    for label, program in programs:
        raised = [e for e in events(training(program), steps) if e.kind == "alarm"]
        runs[label] += 1
        alarmed[label] += bool(raised)
        if raised:
            said[f"{label}: {program.name}"] = [f"{e.name} ({e.severity})" for e in raised]
    return {"steps": steps, "runs": dict(runs), "alarmed": dict(alarmed), "said": said}
