"""Records that survive an interruption: JSON files written whole, beside what made them."""

import json
import platform
import shlex
import sys
from pathlib import Path
from typing import Any

import torch

import unvanish

RECORDS = Path(__file__).parents[1] / "records"


def read(path: Path) -> dict[str, Any]:
    """The record, or an empty one."""
    found = json.loads(path.read_text()) if path.exists() else {}
    return {"rows": {}, "commands": [], **found}


def write(path: Path, record: dict[str, Any]) -> None:
    """The record with the command that is running and the versions; never half a file."""
    command = "python " + shlex.join(["benchmarks/treatment.py", *sys.argv[1:]])
    if command not in record["commands"]:
        record["commands"].append(command)
    record["facts"] = {
        "unvanish": unvanish.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": f"{platform.machine()} CPU, {torch.get_num_threads()} thread a process",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    rows = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in record["rows"].items())
    rest = json.dumps({k: v for k, v in record.items() if k != "rows"}, indent=1)
    fresh.write_text(f'{rest[:-2]},\n "rows": {{\n{rows}\n}}}}\n')
    fresh.replace(path)


def keep(path: Path, name: str, row: dict[str, Any]) -> None:
    """Add one row to the file as it is now: another process may have written to it since.

    What is known of the same program stays beside it; ``"of"`` says which program that was.
    """
    record = read(path)
    old = record["rows"].get(name, {})
    record["rows"][name] = {**old, **row} if old.get("of") == row["of"] else row
    write(path, record)
