"""How many trainings each guard policy saves from faults, and what it costs trainings without.

    python benchmarks/guard.py                      # what is not on record yet
    python benchmarks/guard.py --tasks mlp --seeds 2 --record /some/where.json
    python benchmarks/guard.py --tables             # docs/guard.md anew from the record

A run counts as saved when its held-out accuracy at the end is within noise of the run with
the same seed and no fault: no lower than by twice the standard deviation of unfaulted runs over seeds,
and by two points at least. Record: benchmarks/records/guard.json; tables: docs/guard.md.
"""

import argparse
import hashlib
import json
import logging
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from guard_tables import write_tables
from guard_tasks import BATCH, FAULTS, STEPS, TASKS, Fault, Stages, Task
from torch import Tensor
from torch.nn import functional as F

import unvanish
from unvanish import guard
from unvanish.randomness import seeded
from unvanish.recording import Event, StepReading, TensorEntry

RECORD = Path(__file__).parent / "records" / "guard.json"
NOTHING, CLIP = "nothing", "clip_grad_norm_(1)"
TOGETHER = ("skip-nonfinite", "loss-scale-rescue", "roll-back", "zclip")
ARMS: dict[str, tuple[str, ...]] = {
    NOTHING: (),
    CLIP: (),
    **{name: (name,) for name in guard.POLICIES},
    "together": TOGETHER,
}


class Acts:
    """A sink that keeps what the policies said."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def write(self, reading: StepReading, tensors: Sequence[TensorEntry]) -> None: ...

    def event(self, event: Event) -> None:
        if event.kind == "action":
            self.events.append(event)

    def close(self) -> None: ...


class Run:
    """One training with a fault in it."""

    def __init__(self, task: Task, fault: Fault, arm: str) -> None:
        self.task, self.fault, self.arm = task, fault, arm
        self.model: Stages = task.model()
        self.optimizer = task.optimizer(self.model.parameters())
        self.rate: float = self.optimizer.param_groups[0]["lr"]
        self.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16, enabled=fault.scaler)

    def step(self, step: int, x: Tensor, y: Tensor) -> None:
        """An ordinary training step, except for the fault."""
        fault = self.fault
        self.model.fade = fault.fade(step)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * fault.rate(step)
        x, y = fault.batch(step, x, y)
        self.optimizer.zero_grad()
        outputs = self.model(x)
        loss = fault.loss(step, F.cross_entropy(outputs.flatten(0, -2), y.flatten()))
        if not x.is_floating_point():
            loss = fault.token_loss(step, loss)
        self.scaler.scale(loss).backward()
        if fault.half:
            for parameter in self.model.parameters():
                if parameter.grad is not None:
                    parameter.grad = parameter.grad.half().float()
        if self.arm == CLIP:
            self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def result(self, acts: list[Event]) -> dict[str, Any]:
        _, _, x, y = self.task.data()
        self.model.eval()
        self.model.fade = 1.0
        with torch.no_grad():
            right = float((self.model(x).argmax(-1) == y).float().mean())
        state = b"".join(p.detach().numpy().tobytes() for p in self.model.state_dict().values())
        digest = hashlib.sha256(state).hexdigest()[:16]
        first = {event.name: event.detail for event in reversed(acts)}
        return {"accuracy": right, "acts": len(acts), "weights": digest, "first": first}


def train(task: Task, fault: Fault, arm: str, seed: int) -> dict[str, Any]:
    """One run: its accuracy on held-out samples, what the policies did, a digest of the weights."""
    x, y, _, _ = task.data()
    acts = Acts()
    order = torch.Generator().manual_seed(seed)
    with seeded(seed), warnings.catch_warnings():
        warnings.simplefilter("error")
        run = Run(task, fault, arm)
        watching = None
        if ARMS[arm]:
            # As little else as possible: the deep looks are not what is measured here.
            watching = unvanish.watch(
                run.model, run.optimizer, guard=ARMS[arm], sinks=[acts], budget=1e-4, strict=True
            )
        try:
            for step in range(STEPS):
                chosen = torch.randint(len(x), (BATCH,), generator=order)
                run.step(step, x[chosen], y[chosen])
            return run.result(acts.events)
        except unvanish.UnvanishError as error:
            return run.result(acts.events) | {"stopped": str(error)}
        finally:
            if watching is not None:
                watching.close()


def arms_of(fault: Fault) -> Iterator[str]:
    """Where there is no loss scaler its policy has nothing to do."""
    for arm in ARMS:
        if arm != "loss-scale-rescue" or fault.scaler or fault.name == "none":
            yield arm


def twin(fault: Fault) -> Fault:
    """The same way of training without the fault: what a run is compared with."""
    return Fault("none", "the same without a fault", half=fault.half, scaler=fault.scaler)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--tasks", nargs="+", default=[task.name for task in TASKS])
    arguments.add_argument("--faults", nargs="+", default=[fault.name for fault in FAULTS])
    arguments.add_argument("--arms", nargs="+", default=list(ARMS))
    arguments.add_argument("--seeds", type=int, default=5)
    arguments.add_argument("--record", type=Path, default=RECORD)
    arguments.add_argument("--tables", action="store_true", help="only write the tables anew")
    options = arguments.parse_args()
    if not options.tables:
        torch.set_num_threads(1)
        logging.getLogger("unvanish").setLevel(logging.CRITICAL)
        measure(options)
    write_tables(json.loads(options.record.read_text()))


def cells(options: argparse.Namespace) -> Iterator[tuple[Task, Fault, str, int]]:
    """Every run, seed by seed: a record that is not complete is complete for its seeds."""
    for seed in range(options.seeds):
        for task in (task for task in TASKS if task.name in options.tasks):
            for fault in (fault for fault in FAULTS if fault.name in options.faults):
                for arm in arms_of(fault):
                    if arm in options.arms:
                        yield task, fault, arm, seed
                if fault.half:
                    yield task, twin(fault), NOTHING, seed


def measure(options: argparse.Namespace) -> None:
    """Do the runs that are not on record yet, and write the record after each task and seed."""
    record: dict[str, Any] = {
        "torch": torch.__version__,
        "steps": STEPS,
        "faults": {fault.name: fault.what for fault in FAULTS},
        "arms": list(ARMS),
        "seconds": 0.0,
        "runs": {},
    }
    if options.record.exists():
        record = json.loads(options.record.read_text())
    began, before = time.process_time(), record["seconds"]
    last = None
    for task, fault, arm, seed in cells(options):
        mode = "scaler" if fault.scaler else "half" if fault.half else "single"
        key = f"{task.name} {fault.name} {mode} {arm} {seed}"
        if key in record["runs"]:
            continue
        if (task.name, seed) != last:
            save(record, options.record)
            last = task.name, seed
        record["runs"][key] = train(task, fault, arm, seed)
        record["seconds"] = round(before + time.process_time() - began)
    save(record, options.record)


def save(record: dict[str, Any], path: Path) -> None:
    draft = path.with_suffix(".part")
    draft.write_text(json.dumps(record, indent=0, ensure_ascii=False) + "\n", encoding="utf-8")
    draft.replace(path)


if __name__ == "__main__":
    main()
