"""Values that reach the loss by no way that torch shows: numbers, arrays, tensors made anew of them."""

from unvanish.causes.cause import Case
from unvanish.probe.flow import EXITS

MOST_PARTS = 8
"""With more parts the loss is not asked about each: a whole model behind it is one place."""


def followed(case: Case, names: list[str]) -> list[str]:
    """Those of these parameters that get no gradient and whose values the loss follows.

    Asked of the loss itself, on a copy. Where that is not possible, numbers that left the graph are
    taken to have come back if a tensor was made of numbers afterwards.
    """
    follows = case.laboratory.loss_follows(names) if names else False
    if follows is None:
        exits = [cut for cut in case.trace.cuts if cut.to_loss and cut.operation in EXITS]
        return [name for name in names if any(name in cut.parameters for cut in exits)]
    if not follows:
        return []
    parts: dict[str, list[str]] = {}
    for name in names:
        parts.setdefault(name.partition(".")[0], []).append(name)
    if not 1 < len(parts) <= MOST_PARTS:
        return names
    return [n for part in parts.values() if case.laboratory.loss_follows(part) for n in part]
