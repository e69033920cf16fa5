"""What one observation costs: time against a plain forward and backward, growth with depth, memory.

    python benchmarks/observe.py [--device cuda] [--rounds 9] [--deepest 10000] [--record FILE.json]

Plain steps and observations alternate in one process, so that a noisy machine disturbs both
alike; figures are ratios of neighbours, as median and quartiles. Memory is the peak of a fresh
process each (CPU) or of the allocator (CUDA).
"""

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from models import PROGRAMS, plain_mlp

import unvanish

Program = tuple[torch.nn.Module, Any, Callable[..., torch.Tensor]]


def plain_step(program: Program) -> None:
    """Forward and backward as in any training loop, gradients cleared first."""
    model, (inputs, targets), loss = program
    for parameter in model.parameters():
        parameter.grad = None
    outputs = model(**inputs) if isinstance(inputs, dict) else model(inputs)
    loss(outputs, targets).backward()


def seconds(call: Callable[[], Any], device: str) -> float:
    """Wall time of one call, device work included."""
    synchronize(device)
    start = time.perf_counter()
    call()
    synchronize(device)
    return time.perf_counter() - start


def synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def ratio(program: Program, rounds: int, device: str) -> dict[str, float]:
    """Observation over plain step, round by round."""
    model, data, loss = program
    plain_step(program)
    unvanish.observe(model, data, loss)
    plain, observed, ratios = [], [], []
    for _ in range(rounds):
        plain.append(seconds(lambda: plain_step(program), device))
        for parameter in model.parameters():
            parameter.grad = None
        observed.append(seconds(lambda: unvanish.observe(model, data, loss), device))
        ratios.append(observed[-1] / plain[-1])
    low, middle, high = quartiles(ratios)
    return {
        "ratio": middle,
        "ratio_low": low,
        "ratio_high": high,
        "plain_ms": 1e3 * statistics.median(plain),
        "observe_ms": 1e3 * statistics.median(observed),
        "ops": len(unvanish.observe(model, data, loss).ops),
    }


def quartiles(values: list[float]) -> tuple[float, float, float]:
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def null_test(program: Program, rounds: int, device: str) -> dict[str, float]:
    """A plain step against a plain step: how far from 1 the machine's noise alone goes."""
    plain_step(program)
    pairs = [
        seconds(lambda: plain_step(program), device) / seconds(lambda: plain_step(program), device)
        for _ in range(rounds)
    ]
    low, middle, high = quartiles(pairs)
    return {"ratio": middle, "ratio_low": low, "ratio_high": high}


def growth(deepest: int, device: str) -> list[dict[str, float]]:
    """Seconds an op at 10, 100, ... layers of a plain net."""
    rows: list[dict[str, float]] = []
    depth = 10
    while depth <= deepest:
        program = plain_mlp(depth, device)
        figures = ratio(program, 3, device)
        rows.append(
            {"layers": depth, **figures, "us_per_op": 1e3 * figures["observe_ms"] / figures["ops"]}
        )
        depth *= 10
    return rows


def peak_memory(name: str, what: str, device: str) -> float:
    """Peak memory in MiB of a fresh process that takes two steps (or looks twice)."""
    command = [sys.executable, __file__, "--device", device, "--peak", f"{name}:{what}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.strip().splitlines()[-1])


def print_peak(name: str, what: str, device: str) -> None:
    program = PROGRAMS[name](device)
    unvanish.observe  # noqa: B018 - both processes import the same, only one of them looks
    for _ in range(2):
        if what == "step":
            plain_step(program)
        else:
            unvanish.observe(*program)
    print(torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else peak_resident())


def peak_resident() -> float:
    """Peak resident memory of this process in MiB.

    Not from getrusage on Linux: there a child starts with the peak of the process it came from.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(row for row in status.read_text().splitlines() if row.startswith("VmHWM"))
        return int(line.split()[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def measure(device: str, rounds: int, deepest: int) -> dict[str, Any]:
    """All figures of this machine."""
    record: dict[str, Any] = {
        "command": "python " + " ".join(["benchmarks/observe.py", *sys.argv[1:]]),
        "unvanish": unvanish.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name()
        if device == "cuda"
        else f"CPU, {torch.get_num_threads()} threads",
        "models": {},
    }
    for name, make in PROGRAMS.items():
        program = make(device)
        record["models"][name] = ratio(program, rounds, device)
        record["models"][name]["null"] = null_test(program, rounds, device)
        del program
        step, look = (peak_memory(name, what, device) for what in ("step", "observe"))
        record["models"][name] |= {"step_mib": step, "observe_mib": look}
        print_row(name, record["models"][name])
    record["growth"] = growth(deepest, device)
    for row in record["growth"]:
        print(
            f"{row['layers']:>6.0f} layers {row['ops']:>7.0f} ops "
            f"{row['us_per_op']:7.1f} us/op  {row['ratio']:.2f} x"
        )
    return record


def print_row(name: str, row: dict[str, Any]) -> None:
    null = row["null"]
    print(
        f"{name:<10} {row['ratio']:.2f} x [{row['ratio_low']:.2f}-{row['ratio_high']:.2f}]  "
        f"(null {null['ratio']:.2f} [{null['ratio_low']:.2f}-{null['ratio_high']:.2f}])  "
        f"{row['plain_ms']:.0f} -> {row['observe_ms']:.0f} ms  {row['ops']} ops  "
        f"peak {row['step_mib']:.0f} -> {row['observe_mib']:.0f} MiB",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--deepest", type=int, default=10_000)
    parser.add_argument("--record", type=Path)
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        print_peak(*options.peak.split(":"), options.device)
        return
    record = measure(options.device, options.rounds, options.deepest)
    if options.record:
        options.record.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
