"""What a page asks, checked: every value of a query is wrong until it is understood."""

from collections.abc import Sequence

from starlette.requests import Request

from unvanish.errors import BadInput
from unvanish.languages import gettext as _

MOST = 2**53


def whole(
    request: Request, name: str, default: int | None = None, low: int = 0, high: int = MOST
) -> int | None:
    """A whole number of the query; the default where it is not there.

    Raises:
        BadInput: it is none, or out of range.
    """
    text = request.query_params.get(name, "")
    if not text:
        return default
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal()) or len(digits) > 16:
        said = _("{name}: {value} is no whole number.")
        raise BadInput(said.format(name=name, value=shown(text)))
    if not low <= int(text) <= high:
        said = _("{name}: {value} must be from {low} to {high}.")
        raise BadInput(said.format(name=name, value=shown(text), low=low, high=high))
    return int(text)


def choice(request: Request, name: str, choices: Sequence[str], default: str) -> str:
    """One of some words of the query; the default where it is not there.

    Raises:
        BadInput: another one.
    """
    text = request.query_params.get(name, "") or default
    if text not in choices:
        said = _("{name}: {value} must be one of {choices}.")
        raise BadInput(said.format(name=name, value=shown(text), choices=", ".join(choices)))
    return text


def shown(value: str) -> str:
    """A stranger's text, short enough to repeat."""
    return repr(value if len(value) <= 60 else value[:57] + "...")
