"""The records of the cost of watching, as Markdown tables."""

from typing import Any


def table(records: dict[str, dict[str, Any]]) -> str:
    """Everything on record."""
    parts = [
        *_passes(records["passes"]),
        *_steps(records["steps"]),
        *_long(records["long"]),
        *_graphs(records["graphs"]),
    ]
    return "\n".join(parts)


def _entries(record: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(key, value) for key, value in record.items() if isinstance(value, dict)]


def _spread(numbers: list[float], unit: float = 1.0) -> str:
    middle, low, high = (number * unit for number in numbers)
    return f"{middle:.2f} [{low:.2f}–{high:.2f}]"


def _passes(record: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    for shapes, result in _entries(record):
        lines += [
            f"\n**{shapes}**\n",
            "| pass | µs | GB/s | share of `torch.sum` |",
            "|---|---|---|---|",
        ]
        for name, pas in result["passes"].items():
            lines.append(
                f"| {name} | {pas['microseconds']:.0f} | {pas['gigabytes_per_second']:.1f} "
                f"| {_spread(pas['share_of_sum'])} |"
            )
    return lines


def _steps(record: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    for model, result in _entries(record):
        lines += [
            f"\n**{model}**\n",
            "| watcher | rounds × steps | share of CPU time, % | step ratio, CPU time | step ratio, wall "
            "| µs a step | other threads, µs | memory, MiB |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for name, arm in result["arms"].items():
            share = "—" if arm["share"] is None else _spread(arm["share"], 100)
            own = "—" if arm["share"] is None else f"{arm['own_microseconds']:.0f}"
            cells = (
                name,
                f"{arm['rounds']} × {arm['steps']}",
                share,
                _spread(arm["ratio_thread"]),
                _spread(arm["ratio_wall"]),
                own,
                f"{arm['beside_microseconds']:.0f}",
                f"{arm['memory_bytes'] / 2**20:.0f}",
            )
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def _long(record: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    if record:
        lines += [
            "\n**The default budget over a longer training, everything counted**\n",
            "| model | steps | share, % | without deep looks, % | steps with moments | with updates |",
            "|---|---|---|---|---|---|",
        ]
    for model, run in _entries(record):
        counts = run["steps_with"]
        lines.append(
            f"| {model} | {run['steps']} | {run['share'] * 100:.2f} "
            f"| {run['share_without_looks'] * 100:.2f} | {counts.get('gradient_l2', 0)} "
            f"| {counts.get('update_to_weight', 0)} |"
        )
    return lines


def _graphs(record: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    if record:
        lines += [
            "\n**Under `torch.compile`: graphs and breaks**\n",
            "| model | compiled | unwatched | watched |",
            "|---|---|---|---|",
        ]
    for model, ways in _entries(record):
        for way, both in ways.items():
            told = [
                f"{one['graphs']}, {one['breaks']}" for one in (both["unwatched"], both["watched"])
            ]
            lines.append(f"| {model} | {way} | {told[0]} | {told[1]} |")
    return lines
