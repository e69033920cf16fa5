"""Update to weight: how far one real step of the user's optimizer moves each tensor."""

from dataclasses import dataclass

from unvanish.experiments.laboratory import Laboratory
from unvanish.experiments.rehearsal import Movement, Rehearsal


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """Relative change of one parameter tensor in the first real step: |new - old| / |old|, l2.

    ``without_decay`` and ``without_momentum`` are the same step of the same optimizer with these
    turned off (``None``: not tried, they need ``steps``; or the tensor is zero).
    """

    name: str
    update_to_weight: float | None
    without_decay: float | None
    without_momentum: float | None


def read_updates(laboratory: Laboratory) -> tuple[Update, ...]:
    """The first step's relative change of every tensor that was stepped; empty without one."""
    base = laboratory.rehearsal()
    if base is None:
        return ()
    single = 1 / laboratory.allowed if laboratory.allowed else 1.0
    tried = bool(laboratory.allowed)
    plain = _firsts(laboratory.rehearsal(decay=False, share=single) if tried else None)
    fresh = _firsts(laboratory.rehearsal(momentum=False, share=single) if tried else None)
    return tuple(
        Update(
            name=movement.name,
            update_to_weight=_first(movement),
            without_decay=plain.get(movement.name),
            without_momentum=fresh.get(movement.name),
        )
        for movement in base.movements
    )


def _firsts(rehearsal: Rehearsal | None) -> dict[str, float | None]:
    movements = rehearsal.movements if rehearsal is not None else ()
    return {movement.name: _first(movement) for movement in movements}


def _first(movement: Movement) -> float | None:
    return movement.update[0] / movement.weight[0] if movement.weight[0] > 0 else None
