"""Numbers as they are written in a language, and templates filled with them.

From CLDR 46: the decimal sign, what groups thousands, and how per cent is written. Figures keep the
form that Python gives them (``1e-07``), with these signs put in.
"""

import numbers
import string
from collections.abc import Callable, Mapping
from typing import Any

from unvanish.languages.catalogs import translation

NO_BREAK = "\u00a0"
SIGNS = {
    "ru": str.maketrans({".": ",", ",": NO_BREAK}),
    "tr": str.maketrans({".": ",", ",": "."}),
    "uz": str.maketrans({".": ",", ",": NO_BREAK}),
}
_PERCENT: dict[str, Callable[[str], str]] = {
    "ru": lambda figure: f"{figure}{NO_BREAK}%",
    "tr": lambda figure: f"%{figure}",
    "uz": lambda figure: f"{figure}%",
}


def number(value: float, language: str, digits: int | None = None) -> str:
    """A number with grouped thousands; ``digits`` after the decimal sign, as many as needed if None.

    >>> number(1234.5, "en", 2), number(1234.5, "tr", 2)
    ('1,234.50', '1.234,50')
    """
    return written(value, "," if digits is None else f",.{digits}f", language)


def written(value: Any, specification: str, language: str) -> str:
    """``format(value, specification)``, with the signs of the language where it is a number.

    >>> written(0.125, ".1%", "ru").replace(NO_BREAK, " ")
    '12,5 %'
    """
    said = format(value, specification)
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return said
    return localised(said, language)


def localised(said: str, language: str) -> str:
    """A figure as Python writes it, with the signs of the language.

    >>> localised("1,234.5", "tr")
    '1.234,5'
    """
    if language not in SIGNS:
        return said
    said = said.translate(SIGNS[language])
    if not said.endswith("%"):
        return said
    figure = said[:-1].lstrip()
    return " " * (len(said) - 1 - len(figure)) + _PERCENT[language](figure)


class Figure(str):
    """A number that stands in a sentence already, in local form; ``plain`` as Python writes it.

    >>> Filling("ru").format("{n} {n:|раз|раза|раз}", n=Figure("2,5", "2.5"))
    '2,5 раза'
    """

    plain: str

    def __new__(cls, said: str, plain: str) -> "Figure":
        """A string that remembers what it was made from."""
        made = super().__new__(cls, said)
        made.plain = plain
        return made

    @property
    def whole(self) -> int | None:
        """The number, if it is written without a fraction."""
        digits = self.plain.replace(",", "")
        return int(digits) if digits.isdigit() else None


class Filling(string.Formatter):
    """``str.format`` in a language: local numbers, and a choice among plural forms.

    ``{layers:|слой|слоя|слоёв}`` in a translation is replaced by the form that the number wants.

    >>> Filling("tr").format("{share:.0%} of {count:,}", share=0.5, count=12000)
    '%50 of 12.000'
    """

    def __init__(self, language: str) -> None:
        self.language = language

    def format_field(self, value: Any, format_spec: str) -> str:
        """One place of the template."""
        if not format_spec.startswith("|"):
            return written(value, format_spec, self.language)
        forms = format_spec[1:].split("|")
        return forms[min(self._form(value), len(forms) - 1)]

    def fill(self, template: str, values: Mapping[str, Any]) -> str:
        """The template with its places filled."""
        return self.vformat(template, (), values)

    def _form(self, value: Any) -> int:
        """Which plural form a number wants; fractions, and what is unknown, the second."""
        if isinstance(value, Figure):
            value = value.whole
        elif isinstance(value, str):  # a number that stands in a sentence already
            digits = "".join(sign for sign in value if sign.isdigit())
            value = int(digits) if digits else value
        if not isinstance(value, numbers.Real) or float(value) % 1:
            return 1
        rule = getattr(translation(self.language), "plural", _english)  # from the catalog's header
        return rule(abs(int(float(value))))


def _english(count: int) -> int:
    return int(count != 1)
