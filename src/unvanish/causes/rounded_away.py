"""Weight tensors whose steps are rounded away at a rate of their own, while others move."""

from dataclasses import dataclass

from unvanish.causes.cause import Case
from unvanish.causes.epsilon_dominated import FAMILY, below_epsilon
from unvanish.causes.half_precision_weights import RESOLUTIONS
from unvanish.causes.level import LONG, converged
from unvanish.causes.step_too_large import LONGER, SETTLED
from unvanish.causes.updates import pushed
from unvanish.experiments.rehearsal import Movement, Rehearsal

FURTHER = 0.2
"""Of the loss that it began with: what is known to be the work of the steps, not of their noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundedAway:
    """Tensors that no step changed in any bit; what the loss comes to as it is, and with ``top``.

    ``rate`` is the largest learning rate among them, ``top`` the largest that another tensor has.
    """

    names: tuple[str, ...]
    rate: float
    top: float
    steps: int
    own: Rehearsal
    lifted: Rehearsal

    @property
    def needed(self) -> bool:
        """Whether the loss falls clearly further where these tensors have the rate of the others.

        Features that nobody trains are often good enough.
        """
        return self.lifted.fell - max(self.own.fell, 0.0) > FURTHER


def rounded_away(case: Case) -> RoundedAway | None:
    """Asked where tensors with a gradient and a rate stand still to the last bit, and others do not.

    A rate that falls from layer to layer by a constant factor ends where no float32 weight feels
    it. What does not move with the largest rate either has too little gradient, not too small a rate.
    """
    base = case.laboratory.rehearsal()
    if base is None or not base.finite or len(base.losses) < LONG or converged(case):
        return None
    top = max((m.rate for m in pushed(base) if any(m.update)), default=0.0)
    still = [m for m in pushed(base) if not any(m.update) and 0 < m.rate < top]
    names = [m.name for m in still if _by_its_rate(case, base, m)]
    if not names:
        return None
    share = max(LONGER * SETTLED / len(base.losses), 1.0)
    own = case.laboratory.rehearsal(share=share)
    lifted = case.laboratory.rehearsal(share=share, lifted=names)
    if own is None or lifted is None:
        return None
    moved = {m.name for m in lifted.movements if any(m.update)}
    felt = [m for m in still if m.name in moved.intersection(names)]
    return (
        RoundedAway(
            names=tuple(m.name for m in felt),
            rate=max(m.rate for m in felt),
            top=top,
            steps=len(base.losses),
            own=own,
            lifted=lifted,
        )
        if felt
        else None
    )


def _by_its_rate(case: Case, base: Rehearsal, movement: Movement) -> bool:
    """Whether neither a schedule, nor Adam's epsilon, nor a weight of 16 bits is what holds it."""
    group = case.optimizer.group_of(movement.name) if case.optimizer is not None else None
    if group is None or group.scheduled:
        return False
    swallowed = base.optimizer in FAMILY and below_epsilon(case, movement)
    return not swallowed and case.trace.parameter(movement.name).dtype not in RESOLUTIONS
