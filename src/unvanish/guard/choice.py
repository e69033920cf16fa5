"""From what a user passes as ``guard`` to policies."""

from collections.abc import Callable, Iterable
from typing import cast

from unvanish.errors import BadInput
from unvanish.guard.agc import AGC
from unvanish.guard.autoclip import AutoClip
from unvanish.guard.layer_balance import LayerBalance
from unvanish.guard.loss_scale_rescue import LossScaleRescue
from unvanish.guard.policy import Policy
from unvanish.guard.rate_back_off import RateBackOff
from unvanish.guard.roll_back import RollBack
from unvanish.guard.skip_nonfinite import SkipNonfinite
from unvanish.guard.zclip import ZClip

POLICIES: dict[str, Callable[[], Policy]] = {
    "skip-nonfinite": SkipNonfinite,
    "loss-scale-rescue": LossScaleRescue,
    "roll-back": RollBack,
    "rate-back-off": RateBackOff,
    "layer-balance": LayerBalance,
    "agc": AGC,
    "autoclip": AutoClip,
    "zclip": ZClip,
}
"""All policies by name, in the order in which several of them are best given."""


def by_name(name: str) -> Policy:
    """A policy with its defaults.

    Raises:
        BadInput: there is none of this name.

    >>> by_name("zclip").name
    'zclip'
    """
    if name not in POLICIES:
        raise BadInput(f"There is no guard policy {name!r}; there are {', '.join(POLICIES)}.")
    return POLICIES[name]()


def from_argument(guard: object) -> tuple[Policy, ...]:
    """The policies that an argument ``guard`` asks for, to be called in this order.

    None is none; a name is the policy with its defaults; anything with ``before_step``, ``after_step``,
    ``close`` and a ``name`` is a policy; a sequence may hold both.

    Raises:
        BadInput: it is anything else, or the same policy twice.

    >>> [policy.name for policy in from_argument(["skip-nonfinite", ZClip(z_most=3)])]
    ['skip-nonfinite', 'zclip']
    """
    if guard is None:
        return ()
    alone = isinstance(guard, str) or _is_policy(guard)
    if not alone and not isinstance(guard, Iterable):
        raise BadInput(_NEITHER.format(given=guard))
    entries: list[object] = [guard] if alone else list(cast(Iterable[object], guard))
    policies = tuple(_policy(entry) for entry in entries)
    names = [policy.name for policy in policies]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadInput(
            f"guard names {', '.join(twice)} more than once; each policy acts once a step."
        )
    return policies


def _policy(entry: object) -> Policy:
    if isinstance(entry, str):
        return by_name(entry)
    if not _is_policy(entry):
        raise BadInput(_NEITHER.format(given=entry))
    return cast(Policy, entry)


def _is_policy(entry: object) -> bool:
    methods = ("before_step", "after_step", "close")
    named = isinstance(getattr(entry, "name", None), str) and not isinstance(entry, type)
    return named and all(callable(getattr(entry, method, None)) for method in methods)


_NEITHER = (
    "guard must be the name of a policy, a policy or a sequence of them, not {given!r}; for example "
    'guard=["skip-nonfinite", "roll-back"].'
)
