"""Sentences that a record carries in English, said in another language.

What a cause writes into a finding (``detail``, ``because``, what was not seen) is stored as an
English sentence with its numbers and names in it, so that records and their JSON are the same in
every language. Here such a sentence is met again by the template it was made from, and said anew.
"""

import functools
import re
import string

from unvanish.languages.catalogs import DETAILS, templates, translation
from unvanish.languages.numbers import localised
from unvanish.languages.speaking import filled, spoken
from unvanish.languages.speaking import gettext as _

_NUMBER = re.compile(r"[+-]?(\d[\d,]*)?\.?\d+(e[+-]?\d+)?%?")
_TIMED = re.compile(r"(.+) (\(\d+\.?\d*) s\)")
"""How long something took, behind what was done."""


def recognised(sentence: str) -> str:
    """The sentence in the language of the moment, or as it is where nobody translated it."""
    language = spoken()
    if language == "en" or not sentence:
        return sentence
    whole = translation(language).gettext(sentence)
    if whole != sentence:
        return whole
    for pattern, names, said in _patterns(language):
        met = pattern.fullmatch(sentence)
        if met is not None:
            values = zip(names, met.groups(), strict=True)
            return said.format(**{name: _local(value, language) for name, value in values})
    timed = _TIMED.fullmatch(sentence)
    if timed is None:
        return sentence
    seconds = filled(_("{seconds} s"), seconds=localised(timed[2][1:], language))
    return f"{recognised(timed[1])} ({seconds})"


@functools.cache
def _patterns(language: str) -> tuple[tuple[re.Pattern[str], tuple[str, ...], str], ...]:
    """Templates with places, the ones with most fixed words first."""
    made = [
        (len("".join(fixed)), re.compile(pattern, re.DOTALL), names, said)
        for english, said in templates(language, DETAILS).items()
        for fixed, pattern, names in [_as_pattern(english)]
        if names
    ]
    ordered = sorted(made, key=lambda entry: -entry[0])
    return tuple((pattern, names, said) for _, pattern, names, said in ordered)


def _as_pattern(template: str) -> tuple[list[str], str, tuple[str, ...]]:
    """The fixed words of a template, the expression that meets it, and its places in order."""
    fixed: list[str] = []
    names: list[str] = []
    pattern = ""
    for words, name, *_format in string.Formatter().parse(template):
        fixed.append(words)
        pattern += re.escape(words)
        if name is not None:
            names.append(name)
            pattern += "(.+?)"
    return fixed, pattern, tuple(names)


def _local(value: str, language: str) -> str:
    """A number in local form; a name or a sentence within the sentence by its own template."""
    if _NUMBER.fullmatch(value):
        return localised(value, language)
    return recognised(value)
