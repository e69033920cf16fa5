"""What an experiment is called in the report's list of what was tried."""

from collections.abc import Collection


def changes(
    rate: float = 1.0,
    decay: bool = True,
    momentum: bool = True,
    scaled: str | None = None,
    anew: bool = False,
    factors: Collection[str] = (),
    lifted: Collection[str] = (),
) -> str:
    """What was different in real steps from the user's own; empty where nothing was."""
    parts = [
        "" if rate == 1 else f" at {rate:g} times the step size",
        "" if decay else " without weight decay",
        "" if momentum else " without momentum",
        f" with scaled {scaled}" if scaled else " with a fresh optimizer" if anew else "",
        f" with {len(factors)} weight tensors scaled" if factors else "",
        f" with {len(lifted)} weight tensors at the largest rate" if lifted else "",
    ]
    return "".join(parts)


def of_calls(scale_factor: float, scale_to: float | None, clip: bool, divide: float) -> str:
    """Calls of the user's own training step."""
    parts = [
        "" if scale_factor == 1 else f"the loss scale times {scale_factor:g}",
        "" if scale_to is None else f"the loss scale at {scale_to:g}",
        "" if clip else "without clipping",
        "" if divide == 1 else f"gradients divided by {divide:g}",
    ]
    described = ", ".join(part for part in parts if part) or "as it stands"
    return f"calls of step on a copy, {described}"
