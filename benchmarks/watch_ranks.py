"""What watching costs where several processes train together (DDP, gloo, CPU).

    python benchmarks/watch_ranks.py --rounds 4 --steps 40
    python benchmarks/watch_ranks.py --rounds 4 --steps 40 --namespaces   # as root

For each number of ranks, torchrun starts this file, or with ``--namespaces`` one process in each of
as many network namespaces (:mod:`watch_namespaces`); blocks of a training without a watch, with one,
and without one again take turns in random order, the same on all ranks. The record says the time of a
step beside the plain one's, the share of the watched steps' time in the watcher's own code, and what
lies on disk; in namespaces also what each process sent in a step. Rows of other numbers of ranks,
other batches and the other network stay in the record. The first steps of
a watch (the deep look on credit) are counted apart.
"""

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from watch_namespaces import Namespaces, Refused, bytes_sent

import unvanish

RECORD = Path(__file__).with_name("records") / "watch-ranks.json"
ARMS = ("plain", "watched", "plain again")
SETTLED = 3
"""Steps at the start of a block that are counted apart."""


def net(width: int, depth: int) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        *(part for _ in range(depth) for part in (nn.Linear(width, width), nn.ReLU()))
    )


def block(arm: str, arguments: argparse.Namespace, folder: Path) -> dict[str, float]:
    """One training of ``steps`` steps; seconds of wall and of CPU time a step, and the watcher's."""
    model = nn.parallel.DistributedDataParallel(net(arguments.width, arguments.depth))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    monitor = unvanish.watch(model, optimizer, folder, strict=True) if arm == "watched" else None
    inputs = torch.randn(arguments.batch, arguments.width)
    marks: list[tuple[float, float, float]] = []
    sent = bytes_sent()
    for _ in range(arguments.steps + SETTLED):
        spent = monitor.cost.seconds if monitor is not None else 0.0
        marks.append((time.perf_counter(), time.process_time(), spent))
        optimizer.zero_grad()
        model(inputs).square().mean().backward()
        optimizer.step()
    spent = monitor.cost.seconds if monitor is not None else 0.0
    marks.append((time.perf_counter(), time.process_time(), spent))
    sent = bytes_sent() - sent
    first, start, end = marks[0], marks[SETTLED], marks[-1]
    if monitor is not None:
        monitor.close()
    steps = arguments.steps
    return {
        "wall": (end[0] - start[0]) / steps,
        "cpu": (end[1] - start[1]) / steps,
        "watcher": (end[2] - start[2]) / steps,
        "watcher_first": start[2] - first[2],
        "watcher_all": end[2] - first[2],
        "wall_all": end[0] - first[0],
        "sent": sent / (steps + SETTLED),
    }


def worker(arguments: argparse.Namespace) -> None:
    """One rank: every block in turn; the first rank writes what all have measured."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    order = random.Random(0)
    taken: dict[str, list[dict[str, float]]] = {arm: [] for arm in ARMS}
    for number in range(arguments.rounds + 1):
        for arm in order.sample(ARMS, len(ARMS)):
            dist.barrier()
            measured = block(arm, arguments, Path(arguments.folder) / str(number))
            everybody: list[Any] = [None] * dist.get_world_size()
            dist.all_gather_object(everybody, measured)
            if number:  # the first round warms up
                mean = {key: statistics.fmean(one[key] for one in everybody) for key in measured}
                mean["cpu"] *= len(everybody)
                taken[arm].append(mean)
    if dist.get_rank() == 0:
        Path(arguments.folder, "taken.json").write_text(json.dumps(taken))
    dist.destroy_process_group()


def quartiles(values: list[float]) -> list[float]:
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return [round(number, 4) for number in (middle, low, high)]


def summary(ranks: int, folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    taken = json.loads((folder / "taken.json").read_text())
    plain, watched = taken["plain"], taken["watched"]

    def ratio(arm: str, key: str) -> list[float]:
        return quartiles([a[key] / b[key] for a, b in zip(taken[arm], plain, strict=True)])

    run = folder / str(arguments.rounds)
    files = [path for path in run.rglob("*") if path.is_file()]
    steps = arguments.steps + SETTLED
    sent = {arm: quartiles([one["sent"] for one in taken[arm]]) for arm in ARMS}
    return {
        "ranks": ranks,
        "network": network(arguments),
        "batch": arguments.batch,
        "steps": arguments.steps,
        "rounds": arguments.rounds,
        "load": round(os.getloadavg()[0], 1),
        "parameters": sum(p.numel() for p in net(arguments.width, arguments.depth).parameters()),
        "tensors": 2 * arguments.depth,
        "plain_step_milliseconds": quartiles([1e3 * one["wall"] for one in plain]),
        "watcher_milliseconds": quartiles([1e3 * one["watcher"] for one in watched]),
        "share": quartiles([one["watcher"] / one["wall"] for one in watched]),
        "share_with_first_steps": quartiles([o["watcher_all"] / o["wall_all"] for o in watched]),
        "first_steps_milliseconds": quartiles([1e3 * one["watcher_first"] for one in watched]),
        "wall_ratio": ratio("watched", "wall"),
        "wall_ratio_plain_again": ratio("plain again", "wall"),
        "cpu_ratio": ratio("watched", "cpu"),
        "cpu_ratio_plain_again": ratio("plain again", "cpu"),
        **({"sent_bytes_a_step_and_rank": sent} if arguments.namespaces else {}),
        "files": len(files),
        "bytes": sum(path.stat().st_size for path in files),
        "bytes_a_step_and_rank": round(sum(p.stat().st_size for p in files) / steps / ranks),
    }


def network(arguments: argparse.Namespace) -> str:
    return "namespaces" if arguments.namespaces else "loopback"


def start(ranks: int, command: list[str], namespaces: bool) -> None:
    """One process for each rank, until all are over."""
    if namespaces:
        try:
            with Namespaces(ranks) as joined:
                joined.run([sys.executable, *command])
        except Refused as refused:
            raise SystemExit(str(refused)) from None
        return
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    torchrun += ["--nproc-per-node", str(ranks), *command]
    subprocess.run(torchrun, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--depth", type=int, default=8)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--namespaces", action="store_true", help="one in each (as root)")
    parser.add_argument("--record", type=Path, default=RECORD)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.folder:
        worker(arguments)
        return
    rows: list[dict[str, Any]] = []
    for ranks in arguments.ranks:
        with tempfile.TemporaryDirectory() as folder:
            start(ranks, [__file__, *sys.argv[1:], "--folder", folder], arguments.namespaces)
            rows.append(summary(ranks, Path(folder), arguments))
        print(json.dumps(rows[-1], indent=1))
    write(rows, arguments.record)


def place(row: dict[str, Any]) -> tuple[Any, ...]:
    """What a row of the record is about; rows of before there were namespaces name no network."""
    return row.get("network", "loopback"), row["batch"], row["ranks"]


def write(rows: list[dict[str, Any]], path: Path) -> None:
    before: list[dict[str, Any]] = []
    if path.exists():
        new = {place(row) for row in rows}
        known = json.loads(path.read_text())["median and quartiles"]
        before = [row for row in known if place(row) not in new]
    record = {
        "machine": {
            "cpu": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "torch": torch.__version__,
            "unvanish": unvanish.__version__,
        },
        "median and quartiles": sorted([*before, *rows], key=place),
    }
    path.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
