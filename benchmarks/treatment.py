"""How many sick programs does a treatment cure? Ours, AUTOTRAINER's policy and zero-skill judges.

    python benchmarks/treatment.py                            # a sample: 20 minutes on two cores
    python benchmarks/treatment.py --full                     # the whole corpus, as long as it takes
    python benchmarks/treatment.py --label --count 100        # labels only
    python benchmarks/treatment.py --judges unvanish --only rnn,lstm --count 8

The corpus (``repair/``) holds 1,200 mutated programs and 240 healthy by intent; training beside the
known-good twin on five seeds decides which are sick (``records/repair-labels.json``). Both records
are resumable: what is there is kept, ``--fresh NAME`` forgets the answers of a judge (to the
programs that ``--only`` names, where it is given). Beside
``records/treatment.json`` the tables are written in Markdown.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import Any

import torch
from repair import autotrainer, books, ours, zero_skill
from repair.labels import NEAR, label
from repair.programs import Program
from repair.sample import mixed, named
from repair.scoring import Judge, answer
from repair.table import report

LABELS = books.RECORDS / "repair-labels.json"
MINUTES, COUNT = 20.0, 60


def told(program: Program, budget: int, goal: float) -> Any:
    return autotrainer.autotrainer(program, budget, goal)


def judges(options: argparse.Namespace, known: dict[str, Any]) -> dict[str, Judge]:
    """All of them; the goal of one is the twin's metric, which nobody could know."""
    goal = min(known["twin"], default=1.0) - NEAR
    found: dict[str, Judge] = {
        "unvanish": ours.ours(options.keep, options.budget_s),
        "AUTOTRAINER": autotrainer.autotrainer,
        "AUTOTRAINER, told the goal": partial(told, goal=goal),
        "another seed": zero_skill.reseeded,
        "learning rate": zero_skill.learning_rate,
        "always SELU": zero_skill.always_selu,
        "always batch norm": zero_skill.always_batch_norm,
        "random remedy": zero_skill.random_remedy,
        "random search": zero_skill.random_search,
        "untouched": zero_skill.untouched,
        "twin, other seed": zero_skill.twin,
    }
    if options.judges is None:
        return found
    unknown = sorted(set(options.judges) - set(found))
    if unknown:
        raise SystemExit(f"no judge is called {', '.join(unknown)}; there are: {', '.join(found)}")
    return {name: judge for name, judge in found.items() if name in options.judges}


def work(
    program: Program, options: argparse.Namespace, known: dict[str, Any], had: dict[str, Any]
) -> tuple[Program, dict[str, Any], dict[str, Any]]:
    """Label one program as far as it is not, then ask the judges that have not answered."""
    torch.set_num_threads(1)
    row = known if "label" in known else label(program, known)
    wanted = row["label"] in ("sick", "well") and not options.label
    for name, judge in judges(options, row).items() if wanted else ():
        had["of"] = program.fingerprint
        if name not in had:
            had[name] = answer(judge, program, row, options.tries, options.seeds)
    return program, row, had


def todo(options: argparse.Namespace, known: dict[str, Any], rows: dict[str, Any]) -> Iterator[Any]:
    for program in mixed(options.first, options.only):
        row, had = known.get(program.name, {}), rows.get(program.name, {})
        row, had = (d if d.get("of") == program.fingerprint else {} for d in (row, had))
        settled = row.get("label") in ("between", "twin fails")
        if options.label:
            settled = "label" in row
        elif "label" in row and not settled:
            settled = all(name in had for name in judges(options, row))
        yield program, row, had, settled


def counts(row: dict[str, Any], options: argparse.Namespace) -> bool:
    """Whether a program counts towards ``--count``: sick ones and healthy ones, or any label."""
    return options.label or row.get("label") in ("sick", "well")


def go_through(options: argparse.Namespace) -> None:
    """Until the count is reached, the minutes are over, or the corpus is."""
    known, record = books.read(LABELS), books.read(options.record)
    for program, had in record["rows"].items():
        mine = options.fresh is not None and named(program, options.only)
        for name in [n for n in had if mine and options.fresh in n]:
            del had[name]
    if options.fresh is not None:
        books.write(options.record, record)
    started, done = time.time(), 0
    running: set[Future[Any]] = set()
    queue = todo(options, known["rows"], record["rows"])
    with ProcessPoolExecutor(options.workers) as pool:
        while True:
            late = options.minutes and time.time() - started > 60 * options.minutes
            open_ = not late and (options.full or done + len(running) < options.count)
            task = next(queue, None) if open_ and len(running) < options.workers else None
            if task is not None:
                program, row, had, settled = task
                if settled:
                    done += counts(row, options)
                else:
                    running.add(pool.submit(work, program, options, dict(row), dict(had)))
                continue
            if not running:
                return
            ended, running = wait(running, return_when=FIRST_COMPLETED)
            for future in ended:
                program, row, had = future.result()
                keep(program, row, had, known, record, options)
                done += counts(row, options)
            print(f"\r{done} programs, {time.time() - started:.0f} s", end="", file=sys.stderr)


def keep(
    program: Program,
    row: dict[str, Any],
    had: dict[str, Any],
    known: dict[str, Any],
    record: dict[str, Any],
    options: argparse.Namespace,
) -> None:
    """Write down at once what one piece of work gave."""
    if known["rows"].get(program.name) != row:
        known["rows"][program.name] = row
        books.keep(LABELS, program.name, row)
    if had:
        record["rows"][program.name] = had
        books.keep(options.record, program.name, had)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--full", action="store_true", help="every program, no limit of time")
    parser.add_argument("--count", type=int, default=COUNT, help="programs, sick and healthy")
    parser.add_argument(
        "--minutes", type=float, default=MINUTES, help="start nothing after; 0: never"
    )
    parser.add_argument("--first", type=int, default=0, help="the first index of either part")
    parser.add_argument("--only", default="", help="parts of names, with commas between")
    parser.add_argument("--seeds", type=int, default=5, help="seeds that a cure is judged on")
    parser.add_argument("--judges", nargs="*", default=None, help="names; all where none is given")
    parser.add_argument(
        "--tries", type=int, default=10, help="trainings a judge may spend on choosing"
    )
    parser.add_argument("--keep", default="anything", help="how far unvanish may go")
    parser.add_argument(
        "--budget-s", type=float, default=None, help="seconds for one unvanish.treat"
    )
    parser.add_argument("--label", action="store_true", help="labels only, no judges")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument(
        "--fresh", default=None, help="forget these judges' answers (to --only's programs) first"
    )
    parser.add_argument("--record", type=Path, default=books.RECORDS / "treatment.json")
    options = parser.parse_args()
    if options.full:
        options.minutes = 0
    torch.set_num_threads(1)
    go_through(options)
    print(file=sys.stderr)
    known, record = books.read(LABELS), books.read(options.record)
    if options.label or not record["rows"]:
        return
    every = list(judges(argparse.Namespace(**{**vars(options), "judges": None}), {"twin": []}))
    text = report(record, known, every)
    options.record.with_suffix(".md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
