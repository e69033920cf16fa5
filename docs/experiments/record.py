"""Runs the experiments and writes what they measured to records.json.

python docs/experiments/record.py             # all of them, about a minute
python docs/experiments/record.py sweeps      # one
"""

import importlib
import json
import math
import sys
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent
RECORDS = HERE / "records.json"
EXPERIMENTS = (
    "update_rule",
    "product_law",
    "saturation",
    "sweeps",
    "rectifiers",
    "initial_values",
    "batch_norm",
    "residual",
    "through_time",
    "attention",
    "exploding",
    "detector",
)


def measured(name: str) -> dict[str, float]:
    """What one experiment measures now, to four figures."""
    if str(HERE) not in sys.path:
        sys.path.insert(0, str(HERE))
    found = importlib.import_module(name).measure()
    return {what: float(f"{value:.4g}") for what, value in found.items() if math.isfinite(value)}


def main(names: list[str]) -> None:
    """Measure ``names`` (none: all) and keep the rest of the record."""
    torch.set_num_threads(1)
    kept = json.loads(RECORDS.read_text("utf-8")) if RECORDS.exists() else {}
    kept |= {name: measured(name) for name in names or EXPERIMENTS}
    kept["facts"] = {"torch": torch.__version__, "device": "CPU, 1 thread"}
    RECORDS.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
