"""Which language is spoken: the one asked for, or what the environment says."""

import os
import sys

from unvanish.errors import BadInput

LANGUAGES = ("en", "ru", "tr", "uz")
"""English, Russian, Turkish, Uzbek in Latin script."""
VARIABLE = "UNVANISH_LANGUAGE"


def chosen(asked: str | None = None) -> str:
    """One of ``LANGUAGES``: what was asked for, else ``UNVANISH_LANGUAGE``, the locale, English.

    A variable or a locale that names another language is passed over: it was not set for this call.

    Raises:
        BadInput: ``asked`` is none of them.

    >>> chosen("ru"), chosen("UZ_uz")
    ('ru', 'uz')
    """
    if asked is not None:
        known = _of(asked)
        if known is None:
            raise BadInput(f"language: there is no {asked!r}; pass one of {', '.join(LANGUAGES)}.")
        return known
    named = (_of(name) for name in (os.environ.get(VARIABLE, ""), *_locale()))
    return next((language for language in named if language is not None), "en")


def _of(name: str) -> str | None:
    """``ru`` for ``ru``, ``ru_RU.UTF-8``, ``ru-RU``."""
    first = name.strip().lower().replace("-", "_").partition("_")[0].partition(".")[0]
    return first if first in LANGUAGES else None


def _locale() -> list[str]:
    """What the system is set to, the most special first."""
    for variable in ("LC_ALL", "LC_MESSAGES", "LANG"):
        set_to = os.environ.get(variable)
        if set_to:  # LANGUAGE counts only where a locale is set, as in GNU gettext
            several = os.environ.get("LANGUAGE", "").split(":")
            return [*several, set_to] if set_to not in ("C", "POSIX", "C.UTF-8") else [set_to]
    return [_of_windows()] if sys.platform == "win32" else []


def _of_windows() -> str:
    import ctypes
    import locale

    windows = getattr(ctypes, "windll").kernel32  # noqa: B009  (there is no such name elsewhere)
    return locale.windows_locale.get(windows.GetUserDefaultUILanguage(), "")
