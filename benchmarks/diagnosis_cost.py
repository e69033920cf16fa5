"""What a diagnosis costs, in plain training steps (forward, backward, optimizer step).

    python benchmarks/diagnosis_cost.py [--device cuda] [--rounds 5] [--record FILE.json]

Plain steps and diagnoses alternate in one process. The bars: with steps=0 at most three plain steps
and half a second, with steps=20 at most 45 plain steps. ``beyond`` is what is left of a diagnosis's
time after three plain steps, in seconds.
"""

import argparse
import json
import platform
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from models import gpt2, plain_mlp, resnet18
from observe import plain_step, quartiles, seconds

import unvanish

PROGRAMS = {"resnet18": resnet18, "gpt2": gpt2, "mlp, 100 layers": lambda d: plain_mlp(100, d)}
MODES: dict[str, tuple[bool, int]] = {
    "steps=0, no optimizer": (False, 0),
    "steps=0": (True, 0),
    "steps=20": (True, 20),
}


def cost(name: str, device: str, rounds: int) -> dict[str, Any]:
    """One model: each way to diagnose it over a plain step, round by round."""
    program = PROGRAMS[name](device)
    model, data, loss = program
    optimizer = torch.optim.AdamW(model.parameters(), 1e-5)

    def step() -> None:
        plain_step(program)
        optimizer.step()

    step()
    rows: dict[str, list[tuple[float, float]]] = {mode: [] for mode in MODES}
    for _ in range(rounds):
        plain = statistics.median(seconds(step, device) for _ in range(3))
        for mode, (with_optimizer, steps) in MODES.items():
            for parameter in model.parameters():
                parameter.grad = None
            given = optimizer if with_optimizer else None
            call = diagnosing(model, data, loss, given, steps)
            rows[mode].append((seconds(call, device), plain))
    return {mode: summary(pairs) for mode, pairs in rows.items()}


def diagnosing(
    model: torch.nn.Module, data: Any, loss: Any, optimizer: Any, steps: int
) -> Callable[[], Any]:
    return lambda: unvanish.diagnose(model, data, loss, optimizer, steps=steps)


def summary(pairs: list[tuple[float, float]]) -> dict[str, float]:
    low, middle, high = quartiles([taken / plain for taken, plain in pairs])
    beyond = statistics.median(taken - 3 * plain for taken, plain in pairs)
    plain = 1e3 * statistics.median(plain for _, plain in pairs)
    return {"steps": middle, "low": low, "high": high, "beyond_s": beyond, "plain_ms": plain}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--record", type=Path)
    options = parser.parse_args()
    device = options.device
    record: dict[str, Any] = {
        "command": "python " + " ".join(["benchmarks/diagnosis_cost.py", *sys.argv[1:]]),
        "unvanish": unvanish.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name()
        if device == "cuda"
        else f"CPU, {torch.get_num_threads()} threads",
        "models": {},
    }
    for name in PROGRAMS:
        record["models"][name] = cost(name, device, options.rounds)
        for mode, row in record["models"][name].items():
            print(
                f"{name:<16} {mode:<22} {row['steps']:7.1f} plain steps "
                f"[{row['low']:.1f}-{row['high']:.1f}]  beyond three: {row['beyond_s']:+.2f} s "
                f"(a plain step: {row['plain_ms']:.0f} ms)",
                flush=True,
            )
    if options.record:
        options.record.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
