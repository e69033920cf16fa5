"""Sentences that a record carries in English, said in another language.

What a cause writes into a finding (``detail``, ``because``, what was not seen) is stored as an
English sentence with its numbers and names in it, so that records and their JSON are the same in
every language. Here such a sentence is met again by the template it was made from, and said anew.
"""

import functools
import re
import string

from unvanish.languages.catalogs import DETAILS, templates, translation
from unvanish.languages.numbers import Filling, localised
from unvanish.languages.speaking import filled, ngettext, spoken
from unvanish.languages.speaking import gettext as _

_NUMBER = re.compile(r"[+-]?(\d[\d,]*)?\.?\d+(e[+-]?\d+)?%?")
_BRACKETS = re.compile(r"(.+?) \((.+)\)")
_SECONDS = re.compile(r"(\d+\.?\d*) s")
_STEPS = re.compile(r"(\d+) steps")
_PLACE = "(.+?)"
SURE = 8
"""With fewer fixed letters a template meets few words at a place: nothing long by chance."""

Pattern = tuple[re.Pattern[str], tuple[str, ...], str]
"""What meets a sentence, the names of its places, the translation."""


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
            return Filling(language).fill(said, {n: _part(v, language) for n, v in values})
    return _measured(sentence, language)


def _measured(sentence: str, language: str) -> str:
    """Steps, seconds, and what has something in brackets behind it, each by itself."""
    seconds, steps = _SECONDS.fullmatch(sentence), _STEPS.fullmatch(sentence)
    if seconds is not None:
        return filled(_("{seconds} s"), seconds=localised(seconds[1], language))
    if steps is not None:
        count = int(steps[1])
        return filled(ngettext("{count:,} steps", "{count:,} steps", count), count=count)
    parts = _BRACKETS.fullmatch(sentence)
    return sentence if parts is None else f"{recognised(parts[1])} ({recognised(parts[2])})"


@functools.cache
def _patterns(language: str) -> tuple[Pattern, ...]:
    """Templates, the ones with most fixed words first."""
    made: list[tuple[int, Pattern]] = []
    for english, said in templates(language, DETAILS).items():
        letters, pattern, names = _as_pattern(english)
        if english[0] in " ,;":  # it ends a sentence that has a beginning of its own
            pattern, names, said = f"(.+?){pattern}", ("beginning", *names), f"{{beginning}}{said}"
        if names:
            made.append((letters, (re.compile(pattern, re.DOTALL), names, said)))
    return tuple(pattern for _, pattern in sorted(made, key=lambda entry: -entry[0]))


def _as_pattern(template: str) -> tuple[int, str, tuple[str, ...]]:
    """The fixed letters of a template, the expression that meets it, its places in order."""
    parsed = list(string.Formatter().parse(template))
    letters = sum(letter.isalpha() for words, *_ in parsed for letter in words)
    place = _PLACE if letters >= SURE else r"(\S+(?: \S+){0,2}?)"
    pattern = "".join(
        re.escape(words) + (place if name is not None else "") for words, name, *_ in parsed
    )
    return letters, pattern, tuple(name for _, name, *_ in parsed if name is not None)


def _part(value: str, language: str) -> str:
    """A number in local form; a sentence within the sentence by its own template."""
    return localised(value, language) if _NUMBER.fullmatch(value) else recognised(value)
