"""The language of the moment: set once where output begins, read wherever a sentence is made."""

import contextlib
from collections.abc import Generator, Mapping
from contextvars import ContextVar
from typing import Any

from unvanish.languages.catalogs import translation
from unvanish.languages.choice import chosen
from unvanish.languages.numbers import Filling, written

_SPOKEN: ContextVar[str | None] = ContextVar("unvanish_language", default=None)


@contextlib.contextmanager
def speaking(language: str | None = None) -> Generator[str]:
    """Everything said inside is said in this language, in this thread and task alone.

    ``None``: the language that is being spoken already, else what :func:`chosen` says.

    Raises:
        BadInput: there is no such language.
    """
    before = _SPOKEN.set(_SPOKEN.get())
    try:
        yield speak(language)
    finally:
        _SPOKEN.reset(before)


def speak(language: str | None = None) -> str:
    """What :func:`speaking` does, until the :func:`speaking` around it ends; the language meant."""
    meant = _SPOKEN.get() if language is None else None
    meant = meant or chosen(language)
    _SPOKEN.set(meant)
    return meant


def spoken() -> str:
    """The language of the moment; English where none was set."""
    return _SPOKEN.get() or "en"


def gettext(message: str) -> str:
    """The message in the language of the moment."""
    return translation(spoken()).gettext(message) if message else ""


def ngettext(one: str, many: str, count: int) -> str:
    """The form of the message that this number wants, in the language of the moment."""
    return translation(spoken()).ngettext(one, many, count)


def marked(message: str) -> str:
    """The message itself: marks a sentence that is translated later, where it is shown."""
    return message


def filled(template: str, values: Mapping[str, Any] | None = None, /, **named: Any) -> str:
    """A template of the moment's language with its places filled, numbers in local form."""
    return Filling(spoken()).fill(template, named if values is None else values)


def figure(value: Any, specification: str = "") -> str:
    """``format(value, specification)`` in the moment's language."""
    return written(value, specification, spoken())
