"""The record of ``nn_parts.py`` as tables to read."""

import statistics
from typing import Any


def table(record: dict[str, Any]) -> str:
    about = record["about"]
    lines = [
        "# Parts of unvanish.nn, with and without",
        "",
        "    python benchmarks/nn_parts.py --record benchmarks/records/nn-parts.json",
        "",
        f"torch {about['torch']}, {about['machine']}, {about['seconds']} s on a machine that was doing "
        "other work (its pauses are in; about half an hour on a quiet core).",
        "",
        f"Plain nets of 30 hidden layers of 32 (tasks over time: 32 units), {about['seeds']} seeds, "
        "Adam, the rate of each contestant chosen among the same three on a validation split, "
        "accuracy on a test split. Wins, ties and losses count seeds.",
        "",
        "## Pairs",
        "",
        "| part | without | task | with | without it | difference | wins / ties / losses |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in record["pairs"]:
        lines.append(
            f"| {row['part']} | {row['without']} | {row['task']} | {100 * row['with']:.1f} % | "
            f"{100 * row['plain']:.1f} % | {100 * row['difference']:+.1f} | "
            f"{row['wins']} / {row['ties']} / {row['losses']} |"
        )
    lines += [
        "", "## Every contestant at every rate", "",
        "Mean accuracy on the test split (worst seed in brackets).", "",
        "| contestant / task | 0.001 | 0.003 | 0.01 | rate chosen |", "|---|---|---|---|---|",
    ]  # fmt: skip
    for name, run in record["runs"].items():
        cells = [f"{100 * statistics.mean(row):.1f} ({100 * min(row):.0f})" for row in run["test"]]
        lines.append(f"| {name} | {' | '.join(cells)} | {run['rate']:g} |")
    return "\n".join([*lines, *cost_lines(record.get("cost"))]) + "\n"


def cost_lines(cost: dict[str, Any] | None) -> list[str]:
    if cost is None:
        return []
    columns = list(dict.fromkeys(column for row in cost["ratios"].values() for column in row))
    lines = [
        "", "## Cost", "",
        f"Forward and backward on {cost['shape'][0]} x {cost['shape'][1]} numbers, one thread, time "
        "over that of the plain activation: median (quartiles). After a layer: a Linear layer "
        "stands before either.", "",
        f"| activation | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|",
    ]  # fmt: skip
    for name, row in cost["ratios"].items():
        cells = [f"{row[c][1]:.2f} ({row[c][0]:.2f}-{row[c][2]:.2f})" for c in columns if c in row]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines
