"""Each part of ``unvanish.nn``, with and without, paired over seeds on two tasks each.

    python benchmarks/nn_parts.py --record benchmarks/records/nn-parts.json
    python benchmarks/nn_parts.py --only homeostatic --record ...   (one group; the rest is kept)

Five seeds: each draws the split (60/20/20), the weights and the batches, the same for every
contestant. Every contestant gets the same learning rates and steps; its rate is chosen on the
validation split (best mean over the seeds), its accuracy taken on the test split. ``spread`` is the
accuracy at every rate: how much a wrong rate costs. Nets of all seeds and rates train side by side
(``torch.func.vmap``), which is exact and saves time.
"""

import argparse
import json
import math
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from nn_parts_arms import ARMS, GROUPS, PAIRS, Arm
from nn_parts_cost import measure_cost
from nn_parts_tables import table
from nn_parts_tasks import TASKS, Task
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn import functional as F

SEEDS = 5
BATCH = 64
State = dict[str, Tensor]


def build(arm: Arm, task: Task, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    net = arm.build(task)
    if arm.prepare is not None:
        inputs = task.inputs[split(task, seed)[0][:256]]
        with torch.no_grad():
            arm.prepare(net, inputs)
    return net


def split(task: Task, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Indices of the samples to train on, to choose by, to report."""
    order = torch.randperm(len(task.targets), generator=torch.Generator().manual_seed(seed))
    first, second = int(0.6 * len(order)), int(0.8 * len(order))
    return order[:first], order[first:second], order[second:]


def train(arm: Arm, task: Task) -> dict[str, Any]:
    """Accuracies (rate, seed) on the validation and the test split after training side by side."""
    rates = task.rates
    nets = [build(arm, task, seed) for _ in rates for seed in range(SEEDS)]
    base = nets[0]
    parameters, buffers = stack_module_state(nets)
    parameters = {name: value.detach() for name, value in parameters.items()}
    buffers = {name: value.detach() for name, value in buffers.items()}

    def run(p: State, b: State, x: Tensor) -> Tensor:
        return functional_call(base, (p, b), (x,))

    def loss(p: State, b: State, x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(run(p, b, x), y)

    gradient = vmap(grad(loss))
    step = Adam(parameters, torch.tensor([rate for rate in rates for _ in range(SEEDS)]))
    draws = [torch.Generator().manual_seed(100 + seed) for seed in range(SEEDS)]
    pools = [split(task, seed) for seed in range(SEEDS)]
    started = time.perf_counter()
    for count in range(1, task.steps + 1):
        rows = [
            pool[0][torch.randint(len(pool[0]), (BATCH,), generator=draw)]
            for pool, draw in zip(pools, draws, strict=True)
        ]
        chosen = torch.stack(rows).repeat(len(rates), 1)
        gradients = gradient(parameters, buffers, task.inputs[chosen], task.targets[chosen])
        warm = min(1.0, count / 20) * 0.5 * (1 + math.cos(math.pi * count / task.steps))
        step.take(gradients, warm)
        if arm.after_step is not None:
            arm.after_step(parameters, buffers)
    seconds = time.perf_counter() - started

    def accuracy(which: int) -> list[list[float]]:
        rows = torch.stack([pool[which] for pool in pools]).repeat(len(rates), 1)
        with torch.no_grad():
            made = vmap(run)(parameters, buffers, task.inputs[rows])
        right = (made.argmax(-1) == task.targets[rows]).float().mean(-1)
        return [[round(value, 4) for value in row] for row in right.reshape(-1, SEEDS).tolist()]

    validation, test = accuracy(1), accuracy(2)
    best = max(range(len(rates)), key=lambda row: statistics.mean(validation[row]))
    return {
        "rates": list(rates), "rate": rates[best], "validation": validation, "test": test,
        "accuracy": test[best], "seconds": round(seconds, 1),
    }  # fmt: skip


class Adam:
    """Adam for stacked nets, each with its own learning rate."""

    def __init__(self, parameters: State, rates: Tensor) -> None:
        self.parameters, self.rates, self.count = parameters, rates, 0
        self.first = {name: torch.zeros_like(value) for name, value in parameters.items()}
        self.second = {name: torch.zeros_like(value) for name, value in parameters.items()}

    def take(self, gradients: State, share: float) -> None:
        self.count += 1
        for name, g in gradients.items():
            first = self.first[name].mul_(0.9).add_(g, alpha=0.1)
            second = self.second[name].mul_(0.999).addcmul_(g, g, value=0.001)
            size = (second / (1 - 0.999**self.count)).sqrt_().add_(1e-8)
            rate = share * self.rates.reshape(-1, *[1] * (g.ndim - 1))
            change = rate * (first / (1 - 0.9**self.count)) / size
            self.parameters[name] = self.parameters[name] - change


def compare(runs: dict[str, Any]) -> list[dict[str, Any]]:
    """The pairs: with minus without, seed by seed, at each one's own best rate."""
    rows: list[dict[str, Any]] = []
    for part, without in PAIRS:
        for task in TASKS:
            one, other = runs.get(f"{part} / {task}"), runs.get(f"{without} / {task}")
            if one is None or other is None:
                continue
            apart = [a - b for a, b in zip(one["accuracy"], other["accuracy"], strict=True)]
            rows.append(
                {
                    "part": part, "without": without, "task": task,
                    "with": statistics.mean(one["accuracy"]),
                    "plain": statistics.mean(other["accuracy"]),
                    "difference": statistics.mean(apart),
                    "wins": sum(value > 0 for value in apart),
                    "ties": sum(value == 0 for value in apart),
                    "losses": sum(value < 0 for value in apart),
                }
            )  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", help=f"one of {', '.join(GROUPS)}, cost, or the name of an arm")
    parser.add_argument("--record", type=Path, help="results are read from it and added to it")
    parser.add_argument("--fresh", action="store_true", help="run again what the record has")
    options = parser.parse_args()
    torch.set_num_threads(1)
    record: dict[str, Any] = {"runs": {}}
    if options.record and options.record.exists():
        record = json.loads(options.record.read_text(encoding="utf-8"))
    save: Callable[[], None] = lambda: write(record, options.record)  # noqa: E731
    for name, arm in ARMS.items():
        if options.only not in (None, name, arm.group):
            continue
        for task in TASKS.values():
            key = f"{name} / {task.name}"
            if task.name not in arm.tasks or (key in record["runs"] and not options.fresh):
                continue
            record["runs"][key] = train(arm, task)
            best = statistics.mean(record["runs"][key]["accuracy"])
            print(f"{key}: {best:.3f} in {record['runs'][key]['seconds']} s", flush=True)
            save()
    if options.only in (None, "cost") and ("cost" not in record or options.fresh):
        record["cost"] = measure_cost()
    record["pairs"] = compare(record["runs"])
    record["about"] = {
        "torch": torch.__version__, "machine": f"{platform.machine()}, 1 thread",
        "seeds": SEEDS, "steps": {task.name: task.steps for task in TASKS.values()},
        "seconds": round(sum(run["seconds"] for run in record["runs"].values())),
    }  # fmt: skip
    save()
    print(table(record))


def write(record: dict[str, Any], path: Path | None) -> None:
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    if "pairs" in record:
        path.with_suffix(".md").write_text(table(record), encoding="utf-8")


if __name__ == "__main__":
    main()
