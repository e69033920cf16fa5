"""Numbers that a policy is set up with, checked."""

import math

from unvanish.errors import BadInput


def number(
    policy: str, name: str, value: object, *, above: float = 0.0, most: float = math.inf
) -> float:
    """A finite number in (above, most].

    Raises:
        BadInput: it is anything else.
    """
    result = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        result = float(value)
    if not (math.isfinite(result) and above < result <= most):
        bound = "" if most == math.inf else f" and at most {most:g}"
        raise BadInput(f"{policy}: {name} must be a number above {above:g}{bound}, not {value!r}.")
    return result


def count(policy: str, name: str, value: object, *, least: int = 1) -> int:
    """A whole number of at least ``least``.

    Raises:
        BadInput: it is anything else.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise BadInput(
            f"{policy}: {name} must be a whole number of at least {least}, not {value!r}."
        )
    return value
