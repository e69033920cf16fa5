"""Names, numbers and edits as the Python source that makes them."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from unvanish.surgery.edits import Edit, Part


def written_tuple(names: Sequence[str]) -> str:
    """Names as the source of a tuple of strings."""
    inside = ", ".join(f'"{name}"' for name in names)
    return f"({inside},)" if len(names) == 1 else f"({inside})"


def written_range(numbers: list[int]) -> str:
    """Two numbers or more as a range where they are one, else as a tuple."""
    step = numbers[1] - numbers[0]
    if step > 0 and numbers == list(range(numbers[0], numbers[-1] + 1, step)):
        return f"range({numbers[0]}, {numbers[-1] + 1}, {step})"
    return repr(tuple(numbers))


def written_edit(edit: Edit, surgery: str) -> str:
    """An edit as the call that makes it."""
    given = [f'action="{edit.action}"', f"where={written_tuple(edit.where)}"]
    if edit.part is not None:
        given.append(f"part={_written_part(edit.part, surgery)}")
    if edit.options:
        given.append(f"options={_plain(dict(edit.options))}")
    return f"{surgery}.Edit({', '.join(given)})"


def _written_part(part: Part, surgery: str) -> str:
    arguments = {
        name: _written_part(value, surgery) if isinstance(value, Part) else _number(value)
        for name, value in part.arguments.items()
    }
    inside = ", ".join(f'"{name}": {value}' for name, value in arguments.items())
    rest = f", arguments={{{inside}}}" if arguments else ""
    return f'{surgery}.Part(type="{part.type}"{rest})'


def _plain(options: Mapping[str, Any]) -> str:
    return "{" + ", ".join(f'"{name}": {_number(value)}' for name, value in options.items()) + "}"


def _number(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    return f'"{value}"' if isinstance(value, str) and '"' not in value else repr(value)
