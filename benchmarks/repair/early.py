"""Do the scores that a contest halves its field by rank what comes out at the end?

    cd benchmarks && python -m repair.early --only mlp --count 12

Of sick programs every candidate that ``treat`` would make is trained to its last step, none given
up: the number of gate parts that fail at the start, the training loss after 20, 50 and 150 steps
(the mean over the last quarter of them) and the held-out metric at the end. Spearman's rank
correlation is taken within each program. Written to ``records/early-scores.json``.
"""

import argparse
import json
import math
import statistics
from dataclasses import replace
from typing import Any, cast

import torch
from scipy.stats import spearmanr

import unvanish
from repair import books
from repair.ours import explained
from repair.programs import Built, Program
from repair.sample import candidates as programs
from unvanish.batches import take_batches
from unvanish.errors import UnvanishError
from unvanish.remedies.ordering import candidates
from unvanish.remedies.remedy import Patient
from unvanish.treatment.contender import Contender, gate_faults, look, operate
from unvanish.treatment.contest import RUNGS
from unvanish.treatment.supposed import supposed
from unvanish.trial import Running, Task, prepare

RECORD = books.RECORDS / "early-scores.json"


def field_of(built: Built) -> tuple[Patient, list[Contender]]:
    """The patient, and its copies under every plan that is no advice."""
    diagnosis = unvanish.diagnose(built.model, built.data, built.loss, built.optimizer, steps=20)
    patient = Patient(
        model=built.model,
        batches=take_batches(built.data, 4),
        loss=built.loss,
        forward=None,
        optimizer=built.optimizer,
        diagnosis=diagnosis,
    )
    if diagnosis.healthy:
        patient = replace(patient, diagnosis=replace(diagnosis, findings=supposed(patient)))
    made: list[Contender] = []
    for plan in candidates(patient, "anything"):
        if plan.level == "advice":
            continue
        try:
            made.append(operate(patient, (plan.remedy,), plan.level, plan.plan))
        except UnvanishError:
            continue
    return patient, made


def followed(patient: Patient, contender: Contender, task: Task, steps: int) -> list[float]:
    """Failed gate parts, loss at each rung, and the final metric, for one candidate."""
    try:
        faults: float = len(gate_faults(look(patient, contender.model)))
    except UnvanishError:
        faults = 5.0
    running, losses = Running(contender.arm, task), list[float]()
    for rung in RUNGS:
        running.advance(rung - len(running.losses))
        recent = running.losses[-max(1, rung // 4) :]
        loss = math.inf if running.diverged else math.fsum(recent) / len(recent)
        losses.append(loss if math.isfinite(loss) else 1e30)
    metric = running.advance(steps - len(running.losses)).run().metric
    return [faults, *losses, -1e30 if metric is None else metric]


def rows_of(program: Program) -> list[list[float]]:
    """One row for each candidate of a program."""
    built = program.build(0)
    own = explained if built.task.classes is None else None
    task = prepare(built.model, built.data, built.loss, None, own, steps=built.steps)
    patient, field = field_of(built)
    return [followed(patient, contender, task, built.steps) for contender in field]


def correlations(rows: dict[str, list[list[float]]]) -> dict[str, Any]:
    """For each score the median over programs of Spearman's correlation with the final metric."""
    found: dict[str, Any] = {}
    for column, name in enumerate(("gate faults", *(f"loss at {rung}" for rung in RUNGS))):
        values = [
            float(cast(Any, spearmanr([r[column] for r in lines], [r[-1] for r in lines]))[0])
            for lines in rows.values()
            if len({r[column] for r in lines}) > 1 and len({r[-1] for r in lines}) > 1
        ]
        if values:
            quarters = (
                statistics.quantiles(values, n=4, method="inclusive")
                if len(values) > 1
                else values * 3
            )
            found[name] = {"programs": len(values), "quartiles": [round(v, 2) for v in quarters]}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="programs whose name contains this")
    parser.add_argument("--count", type=int, default=12, help="sick programs")
    options = parser.parse_args()
    torch.set_num_threads(1)
    known = books.read(books.RECORDS / "repair-labels.json")["rows"]
    sick = [p for p in programs() if known.get(p.name, {}).get("label") == "sick"]
    rows: dict[str, list[list[float]]] = {}
    for program in [p for p in sick if options.only in p.name][: options.count]:
        rows[program.name] = rows_of(program)
        found = correlations(rows)
        count = sum(len(lines) for lines in rows.values())
        RECORD.write_text(json.dumps({"candidates": count, "spearman": found, "rows": rows}))
        print(program.name, len(rows[program.name]), found, flush=True)


if __name__ == "__main__":
    main()
