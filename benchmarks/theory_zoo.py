"""How near theory comes: 300 generated plain nets, predicted beside measured by the ledger.

    python benchmarks/theory_zoo.py [--nets 300] [--first 0] [--record FILE.json]

Every net is drawn from its number alone: activation, depth 3..60, width 32..256, weights and biases
(Gaussian, orthogonal or torch's default; sigma_w 0.5..2 times fan-in^-1/2), batch norm or none, 64
samples of noise, ten classes. In float64: the gradient of the steepest nets is below what float32
can hold. ``predicted`` reads the weights, ``wide`` only their size.
"""

import argparse
import json
import math
import random
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

import unvanish

NEAR = 0.3  # decades
ACTIVATIONS: dict[str, Any] = {
    "relu": nn.ReLU, "leaky_relu 0.2": lambda: nn.LeakyReLU(0.2), "tanh": nn.Tanh, "gelu": nn.GELU,
    "silu": nn.SiLU, "sigmoid": nn.Sigmoid, "elu": nn.ELU, "selu": nn.SELU, "mish": nn.Mish,
    "softplus": nn.Softplus, "hardtanh": nn.Hardtanh, "softsign": nn.Softsign,
}  # fmt: skip
INITIALISATIONS = ("gaussian", "orthogonal", "default")
WIDTHS = (32, 48, 64, 96, 128, 192, 256)


def draw_net(number: int) -> tuple[nn.Sequential, dict[str, Any]]:
    """The net of this number, and what was drawn for it."""
    draw = random.Random(number)
    drawn = {
        "net": number,
        "activation": draw.choice(tuple(ACTIVATIONS)),
        "depth": draw.randint(3, 60),
        "width": draw.choice(WIDTHS),
        "initialisation": draw.choice(INITIALISATIONS),
        "sigma_w": round(draw.uniform(0.5, 2.0), 3),
        "sigma_b": draw.choice((0.0, 0.1, 0.3)),
        "batch_norm": draw.random() < 0.3,
    }
    torch.manual_seed(number)
    layers: list[nn.Module] = []
    for _ in range(drawn["depth"]):
        layers.append(_linear(drawn))
        if drawn["batch_norm"]:
            layers.append(nn.BatchNorm1d(drawn["width"]))
        layers.append(ACTIVATIONS[drawn["activation"]]())
    return nn.Sequential(*layers, nn.Linear(drawn["width"], 10)).double(), drawn


def _linear(drawn: dict[str, Any]) -> nn.Linear:
    width, gain = drawn["width"], drawn["sigma_w"]
    layer = nn.Linear(width, width)
    if drawn["initialisation"] == "gaussian":
        nn.init.normal_(layer.weight, std=gain / math.sqrt(width))
    elif drawn["initialisation"] == "orthogonal":
        nn.init.orthogonal_(layer.weight, gain=gain)
    if drawn["initialisation"] != "default":
        nn.init.normal_(layer.bias, std=drawn["sigma_b"])
    return layer


def compare(number: int) -> dict[str, Any]:
    """One net: predicted, wide limit with its spread, measured; decades over all layers."""
    model, drawn = draw_net(number)
    data = torch.randn(64, drawn["width"], dtype=torch.float64), torch.randint(10, (64,))
    start = time.perf_counter()
    found = unvanish.predict(model, data, nn.CrossEntropyLoss())
    numbers = {name: getattr(found, name) for name in ("measured", "predicted", "wide", "spread")}
    seconds = time.perf_counter() - start
    return (
        drawn
        | {name: round(value, 4) for name, value in numbers.items()}
        | {"seconds": round(seconds, 2)}
    )


def within(row: dict[str, Any], which: str, spreads: float = 0.0) -> bool:
    """Whether the total is within 0.3 decades, or within so many stated spreads where that is more."""
    return abs(row[which] - row["measured"]) <= max(NEAR, spreads * row["spread"])


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    wide_spread = [row for row in rows if row["spread"] > NEAR]
    return {
        "nets": len(rows),
        "predicted within 0.3": share(rows, "predicted"),
        "predicted within 0.3 or two spreads": share(rows, "predicted", 2),
        "wide within 0.3": share(rows, "wide"),
        "wide within 0.3 or two spreads": share(rows, "wide", 2),
        "nets whose spread exceeds 0.3": len(wide_spread),
        "of these, predicted within 0.3": share(wide_spread, "predicted"),
        "of these, wide within 0.3": share(wide_spread, "wide"),
        "no batch norm, predicted within 0.3": share(
            [r for r in rows if not r["batch_norm"]], "predicted"
        ),
        "batch norm, predicted within 0.3": share(
            [r for r in rows if r["batch_norm"]], "predicted"
        ),
        "missed": [row["net"] for row in rows if not within(row, "predicted")],
    }


def share(rows: list[dict[str, Any]], which: str, spreads: float = 0.0) -> float | None:
    return round(sum(within(row, which, spreads) for row in rows) / len(rows), 4) if rows else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nets", type=int, default=300)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--record", type=Path)
    asked = parser.parse_args()
    rows = []
    for number in range(asked.first, asked.first + asked.nets):
        rows.append(compare(number))
        if not within(rows[-1], "predicted"):
            print(rows[-1], flush=True)
    print(json.dumps(summary(rows), indent=1))
    if asked.record:
        told = {
            "command": f"python benchmarks/theory_zoo.py --nets {asked.nets} --first {asked.first}"
        }
        about = {"torch": torch.__version__, "unvanish": unvanish.__version__}
        text = ",\n  ".join(json.dumps(row) for row in rows)
        head = json.dumps(told | about | {"summary": summary(rows)}, indent=1)[:-2]
        asked.record.write_text(f'{head},\n "nets": [\n  {text}\n ]\n}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
