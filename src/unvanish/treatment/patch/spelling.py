"""Names, numbers and edits as the Python source that makes them."""

import ast
import math
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from unvanish.surgery.edits import Edit, Part

_FEW = 3
"""Digits of a factor that stands for a number: more are no shorter than the number itself."""


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


def written_edit(edit: Edit, surgery: str, where: str | None = None) -> str:
    """An edit as the call that makes it; ``where``: source to write in the place of its names."""
    given = [f'action="{edit.action}"', f"where={where or written_tuple(edit.where)}"]
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


def written_value(value: Any) -> str:
    """A number as short as it is the same but for the rounding of a product: 0.1 * 0.1 is 0.01."""
    if type(value) is not float:
        return repr(value)
    short = float(f"{value:.12g}")
    alike = math.isclose(short, value, rel_tol=4 * sys.float_info.epsilon)
    return repr(short if alike else value)


def written_factor(factor: float) -> tuple[str, str]:
    """A factor as it is best read: the operator and a number.

    >>> written_factor(3.0), written_factor(1 / 3), written_factor(0.1)
    (('*', '3'), ('/', '3'), ('/', '10'))
    """
    number, inverse = (written_value(value).removesuffix(".0") for value in (factor, 1 / factor))
    return ("/", inverse) if len(inverse) < len(number) else ("*", number)


def is_long(written: str) -> bool:
    """Whether a number is written with more digits than anybody sets, as a third of one is.

    >>> is_long("0.0003333333333333333"), is_long("1.25e-05"), is_long("135000.0")
    (True, False, False)
    """
    digits = written.partition("e")[0].replace(".", "").lstrip("0")
    return digits.isdecimal() and len(digits.rstrip("0")) > 2 * _FEW


def short_factor(old: Any, new: Any) -> float | None:
    """What takes a number to another but for rounding, where a few digits say it; else ``None``.

    >>> short_factor(0.05, 0.05 * 0.065), short_factor(0.9, 0.99), short_factor(0.0, 0.1)
    (0.065, 1.1, None)
    >>> short_factor(0.3, 0.1) is None, short_factor(0.95, 0.9) is None
    (True, True)
    """
    if type(old) is not float or type(new) is not float or not old or not math.isfinite(new / old):
        return None
    factor = float(f"{new / old:.{_FEW}g}")
    alike = math.isclose(old * factor, new, rel_tol=4 * sys.float_info.epsilon)
    return factor if alike else None


def multiplied(written: str, factor: float) -> str:
    """The source of an expression times a factor.

    >>> multiplied("settings.rate", 3.0), multiplied("base + extra", 0.5)
    ('settings.rate * 3', '(base + extra) / 2')
    """
    tight = ast.Constant | ast.Name | ast.Attribute | ast.Subscript | ast.Call
    whole = isinstance(ast.parse(written.strip(), mode="eval").body, tight)
    return " ".join((written if whole else f"({written})", *written_factor(factor)))


def folded(line: str, unit: str, width: int) -> list[str]:
    """A line of source, broken inside of its call or tuple where it is longer than ``width``.

    >>> folded("net = make(first, second)", "  ", 20)
    ['net = make(', '  first,', '  second,', ')']
    """
    inside = line.lstrip()
    indent = line[: len(line) - len(inside)]
    if len(line) <= width or "\n" in line:
        return [line]
    try:
        statement = ast.parse(f"{inside} pass" if inside.endswith(":") else inside).body[0]
    except SyntaxError:
        return [line]
    value = getattr(statement, "iter" if isinstance(statement, ast.For) else "value", None)
    if isinstance(value, ast.Call):
        items: list[ast.expr | ast.keyword] = [*value.args, *value.keywords]
    else:
        items = [*value.elts] if isinstance(value, ast.Tuple) else []
    if not items:
        return [line]
    # Byte columns are columns here: names of modules are the only text, and lines are ours.
    spans = [(item.col_offset, item.end_col_offset or 0) for item in items]
    texts = [f"{inside[start:end]}," for start, end in spans]
    if isinstance(value, ast.Tuple):
        texts = textwrap.wrap(" ".join(texts), width - len(indent + unit), break_on_hyphens=False)
    head, tail = inside[: spans[0][0]].rstrip(), inside[spans[-1][1] :].lstrip(", ")
    return [indent + head, *(indent + unit + text for text in texts), indent + tail]
