"""Are the labels true? Every program of the corpus and its healthy twin are trained.

    python benchmarks/corpus_check.py --seeds 5 --record benchmarks/records/corpus_check.json

A broken program holds when training proves it, a healthy one when it learns. What does not hold
for a seed is left out of the benchmark for that seed. Resumable: what the record has is kept.
"""

import argparse
import json
import math
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from corpus import CASES, Case
from corpus.case import Program
from torch import Tensor, nn

GAIN = 2 / 3
"""A broken program gains less than this share of what its twin gains, from the lower start."""
LEARNED = 0.1
"""A healthy program loses at least this share of its first loss."""
SETTLED = 0.05
"""... or starts below this loss: it has converged before."""


def step_loss(program: Program, batch: Any) -> Tensor:
    """The loss of one batch, as ``diagnose`` takes it."""
    if program.get("forward") is not None:
        return program["forward"](program["model"], batch)
    inputs, targets = batch
    model = program["model"]
    outputs = model(*inputs) if isinstance(inputs, tuple) else model(inputs)
    return program["loss"](outputs, targets)


def batches(program: Program) -> list[Any]:
    return [program["data"]] if isinstance(program["data"], tuple) else list(program["data"])


def take_step(program: Program, optimizer: torch.optim.Optimizer, batch: Any) -> Tensor:
    """One step of the program's own loop, or of the plain one; the loss before it."""
    loss = step_loss(program, batch)
    if program.get("step") is not None:
        program["step"](program["model"], optimizer, batch)
    else:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.detach()


def optimizer_of(program: Program) -> torch.optim.Optimizer:
    """The program's own optimizer, a warm-up at its full rate; Adam where it brings none."""
    found = program.get("optimizer")
    if found is None:
        kept = [p for p in program["model"].parameters() if p.requires_grad]
        return torch.optim.Adam(kept, 3e-3)
    for group in found.param_groups:
        group["lr"] = group.get("initial_lr", group["lr"])
    return found


def mean_loss(program: Program) -> float:
    with torch.no_grad():
        values = [float(step_loss(program, batch)) for batch in batches(program)]
    return math.fsum(values) / len(values)


def train(program: Program, steps: int) -> tuple[float, float]:
    """Mean loss before and after real training; NaN where it did not stay finite."""
    torch.manual_seed(1)
    optimizer, every = optimizer_of(program), batches(program)
    first = mean_loss(program)
    for step in range(steps):
        if not math.isfinite(float(take_step(program, optimizer, every[step % len(every)]))):
            return first, math.nan
    return first, mean_loss(program)


def gain(start: float, end: float) -> float:
    return start - end if math.isfinite(end) else -math.inf


def check_learns(case: Case, seed: int) -> dict[str, Any]:
    """The broken one ends far above its twin, both from the twin's start."""
    ill, well = case.build(seed, True).program, case.build(seed, False).program
    start, end = train(well, case.training)
    first, last = train(ill, case.training)
    if case.check == "own loss":
        last = mean_loss({**well, "model": ill["model"]})
    if case.check == "positive":  # the same loss without the flipped sign
        last = mean_loss({**well, "model": ill["model"]})
    if case.check == "scaled":
        share = gain(1.0, last / first) / gain(1.0, end / start)
    else:
        level = min(start, first) if math.isfinite(first) else start
        share = gain(level, last) / max(gain(level, end), 1e-12)
    learned = gain(start, end) >= LEARNED * abs(start)
    holds = learned and share < GAIN
    holds = holds or (case.graded and learned)
    return {
        "holds": holds,
        "learned": learned,
        "twin": [start, end],
        "ill": [first, last],
        "share": share,
    }


def moved(case: Case, seed: int, ill: bool) -> bool:
    """Whether training moves the parameters that the label names, as parameters of the model."""
    drawn = case.build(seed, ill)
    model: nn.Module = drawn.program["model"]
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    train(drawn.program, case.training)
    after = dict(model.named_parameters())
    places = drawn.where or case.build(seed, True).where
    if not places:  # unregistered: fewer parameters than the twin has
        twin = case.build(seed, False).program["model"]
        return sum(1 for _ in model.parameters()) == sum(1 for _ in twin.parameters())
    named = [n for n in before if any(n == p or n.startswith(p + ".") for p in places)]
    return any(not torch.equal(before[n], after[n]) for n in named)


def check_raises(case: Case, seed: int) -> dict[str, Any]:
    """Loss or gradient are not finite, or there is nothing to differentiate."""

    def fails(ill: bool) -> bool:
        program = case.build(seed, ill).program
        loss = step_loss(program, batches(program)[0])
        if not bool(torch.isfinite(loss)) or not loss.requires_grad:
            return True
        loss.backward()
        gradients = [p.grad for p in program["model"].parameters() if p.grad is not None]
        return not all(bool(torch.isfinite(g).all()) for g in gradients)

    return {"holds": fails(True) and not fails(False)}


HEALTHY = 0.9
"""A graded program that gains at least this share of what its twin gains is healthy."""


def labelled(checked: dict[str, Any], case: Case, seed: int) -> Case | None:
    """The case as training labels it for this seed; ``None``: it is left out."""
    row = checked.get(case.name, {}).get(str(seed))
    if not case.graded:
        return case if row is None or row["holds"] else None
    if row is None or not row["learned"] or row["share"] is None or HEALTHY > row["share"] >= GAIN:
        return None
    return case if row["share"] < GAIN else replace(case, cause=None)


def check(case: Case, seed: int) -> dict[str, Any]:
    """Whether the label of one case is true for one seed, with the numbers."""
    if case.healthy:
        start, end = train(case.build(seed, False).program, case.training)
        held = gain(start, end) >= LEARNED * abs(start) or start < SETTLED
        return {"holds": held, "losses": [start, end]}
    if case.check == "moves":
        return {"holds": not moved(case, seed, True) and moved(case, seed, False)}
    if case.check == "raises":
        return check_raises(case, seed)
    return check_learns(case, seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--only", default="")
    parser.add_argument("--record", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    record: dict[str, Any] = {}
    if options.record and options.record.exists():
        record = json.loads(options.record.read_text())
    started = time.time()
    for number, case in enumerate(CASES):
        if options.only not in case.name:
            continue
        rows = record.setdefault(case.name, {})
        for seed in range(options.first, options.first + options.seeds):
            if str(seed) not in rows:
                rows[str(seed)] = check(case, seed)
                if not rows[str(seed)]["holds"]:
                    print(f"does not hold: {case.name}, seed {seed}: {rows[str(seed)]}", flush=True)
        print(f"{number + 1}/{len(CASES)} {time.time() - started:.0f} s", end="\r", file=sys.stderr)
        if options.record:
            options.record.write_text(json.dumps(record, indent=0, default=str) + "\n")


if __name__ == "__main__":
    main()
