"""How often is the diagnosis right? Ours and the baselines on the labelled corpus.

    python benchmarks/diagnosis.py --seeds 5 --record benchmarks/records/diagnosis.json

Every program is built for every seed and given to every judge; programs whose label training did
not confirm (``records/corpus_check.json``) are left out. Resumable: what the record has is kept,
``--fresh NAME`` forgets one judge first. Beside the JSON a table is written in Markdown.
"""

import argparse
import contextlib
import io
import json
import platform
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from baselines import BASELINES, OverARun
from corpus import CASES, Case
from corpus.scoring import Named, score
from corpus_check import batches, labelled, optimizer_of, step_loss
from diagnosis_table import table
from peers import PEERS

import unvanish

HERE = Path(__file__).parent
Judge = Callable[[dict[str, Any]], list[Named]]


def ours(steps: int) -> Judge:
    """Our own diagnosis with a number of real steps on a copy."""

    def judge(program: dict[str, Any]) -> list[Named]:
        diagnosis = unvanish.diagnose(**program, steps=steps)
        return [
            Named(frozenset({f.name}), f.where, f.severity != "note", f.name)
            for f in diagnosis.findings
        ]

    return judge


def judges(steps: list[int]) -> dict[str, Judge]:
    named = {f"unvanish, steps={k}": ours(k) for k in steps}
    return named | BASELINES | PEERS


def plain_seconds(program: dict[str, Any]) -> float | None:
    """Median of three plain steps: forward, backward, optimizer."""
    try:
        optimizer, batch = optimizer_of(program), batches(program)[0]
        times = []
        for _ in range(3):
            start = time.perf_counter()
            optimizer.zero_grad()
            step_loss(program, batch).backward()
            optimizer.step()
            times.append(time.perf_counter() - start)
        return statistics.median(times)
    except (RuntimeError, ValueError):
        return None  # nothing requires grad: there is no step to compare with


def answer(judge: Judge, case: Case, seed: int) -> dict[str, Any]:
    """One judge's findings on one program, their score and their price."""
    drawn = case.build(seed, True)
    torch.manual_seed(seed)
    start = time.perf_counter()
    failed = None
    found: list[Named] = []
    spent = 0.0
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            if isinstance(judge, OverARun):
                found, spent = judge.ask((case.name, seed), drawn.program)
            else:
                found = judge(drawn.program)
    except Exception as error:  # a judge that crashes has not answered
        failed = f"{type(error).__name__}: {error}"[:200]
    seconds = max(time.perf_counter() - start, spent)
    given = score(case, drawn.where, found)
    row: dict[str, Any] = {
        "points": given.points,
        "healthy": case.healthy,
        "outcome": given.outcome,
        "named": given.named_first,
        "placed": given.placed,
        "found": [[f.word, f.alarm, list(f.where or ())[:4]] for f in found[:4]],
        "seconds": round(seconds, 4),
    }
    return row | ({"failed": failed} if failed else {})


def held(checked: dict[str, Any], case: Case, seed: int) -> bool:
    return labelled(checked, case, seed) is not None


def read_check() -> dict[str, Any]:
    path = HERE / "records" / "corpus_check.json"
    return json.loads(path.read_text()) if path.exists() else {}


def without(record: dict[str, Any], checked: dict[str, Any]) -> None:
    """Forget answers to programs whose label was refuted since."""
    for rows in record["answers"].values():
        for case in CASES:
            kept = rows.get(case.name, {})
            rows[case.name] = {s: r for s, r in kept.items() if held(checked, case, int(s))}


def work(options: argparse.Namespace, checked: dict[str, Any]) -> Iterator[tuple[Case, int]]:
    for case in CASES:
        for seed in range(options.first, options.first + options.seeds):
            known = labelled(checked, case, seed)
            left_out = options.without is not None and options.without in case.name
            if options.only in case.name and not left_out and known is not None:
                yield known, seed


def fill(record: dict[str, Any], options: argparse.Namespace, checked: dict[str, Any]) -> None:
    """Run what the record does not have yet."""
    wanted = {n: j for n, j in judges(options.steps).items() if options.judge in n}
    todo = list(work(options, checked))
    started = saved = time.time()
    for number, (case, seed) in enumerate(todo):
        for name, judge in wanted.items():
            rows = record["answers"].setdefault(name, {}).setdefault(case.name, {})
            if str(seed) not in rows:
                rows[str(seed)] = answer(judge, case, seed)
        plain = record["plain_seconds"].setdefault(case.name, {})
        if str(seed) not in plain:
            plain[str(seed)] = plain_seconds(case.build(seed, True).program)
        if time.time() - saved > 20:
            saved = save(record, options)
        print(f"\r{number + 1}/{len(todo)} {time.time() - started:.0f} s", end="", file=sys.stderr)
    print(file=sys.stderr)


def save(record: dict[str, Any], options: argparse.Namespace) -> float:
    if options.record:
        options.record.parent.mkdir(parents=True, exist_ok=True)
        options.record.write_text(json.dumps(record, indent=0) + "\n")
    return time.time()


def commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True
    )
    return done.stdout.strip() or "unknown"


def facts(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "command": "python " + shlex.join(["benchmarks/diagnosis.py", *sys.argv[1:]]),
        "unvanish": unvanish.__version__,
        "commit": commit(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": f"CPU, {torch.get_num_threads()} thread",
        "seeds": f"{options.first} to {options.first + options.seeds - 1}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--only", default="", help="programs whose name contains this")
    parser.add_argument("--without", default=None, help="no programs whose name contains this")
    parser.add_argument("--judge", default="", help="judges whose name contains this")
    parser.add_argument("--steps", type=int, nargs="*", default=[0, 20])
    parser.add_argument("--fresh", default=None, help="forget the answers of these judges first")
    parser.add_argument("--record", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    checked = read_check()
    record: dict[str, Any] = {"answers": {}, "plain_seconds": {}}
    if options.record and options.record.exists():
        record = json.loads(options.record.read_text())
    for name in list(record["answers"]):
        if options.fresh is not None and options.fresh in name:
            del record["answers"][name]
    without(record, checked)
    fill(record, options, checked)
    record["facts"] = facts(options)
    ran = record.setdefault("commands", [])
    ran += [c for c in [f"{facts(options)['command']} (at {commit()})"] if c not in ran]
    save(record, options)
    text = table(record, CASES, checked)
    if options.record:
        options.record.with_suffix(".md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
