"""Sentences that a record carries in English, said in another language.

What a cause writes into a finding (``detail``, ``because``, what was not seen) is stored as an
English sentence with its numbers and names in it, so that records and their JSON are the same in
every language. Here such a sentence is met again by the template it was made from, and said anew.
Several sentences in one, as an alarm has them, are met by several: of all readings the one counts
in which every part is known.
"""

import functools
import re
import string
from collections.abc import Iterator
from typing import NamedTuple

from unvanish.languages.catalogs import DETAILS, templates, translation
from unvanish.languages.numbers import Figure, Filling, localised
from unvanish.languages.speaking import filled, marked, speaking, spoken
from unvanish.languages.speaking import gettext as _

WORDS = frozenset(
    {
        marked("below"),
        marked("above"),
        marked("infinite"),
        marked("inputs"),
        marked("targets"),
        marked("the adapter"),
        marked("without clipping"),
        marked("neutral initialisation"),
    }
)
"""Words that stand in the place of a template. Any other word alone in a place is a name: a module
may be called ``norm`` or ``loss``."""
SURE = 8
"""With fewer fixed letters a template meets few words at a place: nothing long by chance."""
DEEPEST = 8
"""Sentences within sentences. A record may quote anything, such as a thousand brackets."""
_NUMBER = re.compile(r"[+-]?(\d[\d,]*)?\.?\d+(e[+-]?\d+)?%?")
_NAMES = re.compile(r"\S*[^\s.,:;](, \S*[^\s.,:;])*(, \.\.\.)?")
_BRACKETS = re.compile(r"(.+?) \((.+)\)", re.DOTALL)
_SECONDS = re.compile(r"(\d+\.?\d*) s")
_SENTENCES = re.compile(r"(?<=\.) (?=[A-Z])")
_PLACE = "(.+?)"

Pattern = tuple[re.Pattern[str], tuple[str, ...], str]
"""What meets a sentence, the names of its places, the translation."""


class Said(NamedTuple):
    """A sentence in another language, and whether every part of it was known."""

    text: str
    known: bool


def recognised(sentence: str) -> str:
    """The sentence in the language of the moment, or as it is where nobody translated it."""
    language = spoken()
    return sentence if language == "en" or not sentence else _said(sentence, language).text


@functools.lru_cache(maxsize=4096)
def _said(sentence: str, language: str, depth: int = 0) -> Said:
    whole = translation(language).gettext(sentence)
    if whole != sentence:
        return Said(whole, known=True)
    if _NAMES.fullmatch(sentence) or depth == DEEPEST:
        return Said(sentence, known=depth < DEEPEST)
    with speaking(language):
        readings: list[Said] = []
        for said in _readings(sentence, language, depth + 1):
            if said.known:
                return said
            readings.append(said)
    return readings[0] if readings else Said(sentence, known=False)


def _readings(sentence: str, language: str, depth: int) -> Iterator[Said]:
    """By one template, by what is measured, in parts; as it is. The likelier first."""
    unsure: list[Said] = []
    for pattern, names, said in _patterns(language):
        met = pattern.fullmatch(sentence)
        if met is not None:
            values = [_part(value, language, depth) for value in met.groups()]
            parts = dict(zip(names, values, strict=True))
            text = Filling(language).fill(said, {name: part for name, (part, _) in parts.items()})
            reading = Said(text, all(known for _, known in parts.values()))
            yield from [reading] if reading.known else []
            unsure.append(reading)
    yield from _measured(sentence, language, depth)
    yield from _in_parts(sentence, language, depth)
    yield from unsure


def _measured(sentence: str, language: str, depth: int) -> Iterator[Said]:
    """Seconds, and what has something in brackets behind it, each by itself."""
    seconds, parts = _SECONDS.fullmatch(sentence), _BRACKETS.fullmatch(sentence)
    if seconds is not None:
        said = filled(_("{seconds} s"), seconds=localised(seconds[1], language))
        yield Said(said, known=True)
    if parts is not None:
        before, inside = (_said(part, language, depth) for part in parts.groups())
        if before.known or inside.known:
            yield Said(f"{before.text} ({inside.text})", before.known and inside.known)


def _in_parts(sentence: str, language: str, depth: int) -> Iterator[Said]:
    """Sentence by sentence, without the full stop, clause by clause; if any of them is known."""
    for parts, between, end in (
        (_SENTENCES.split(sentence), " ", ""),
        ([sentence.rstrip(".")], "", "."),
        (sentence.split("; "), "; ", ""),
        (sentence.split(", "), ", ", ""),
    ):
        if parts != [sentence] and between.join(parts) + end == sentence:
            said = [_said(part, language, depth) for part in parts]
            if any(one.known and one.text != p for one, p in zip(said, parts, strict=True)):
                text = between.join(one.text for one in said)
                # A word or a number alone is no sentence: the cut was in the wrong place.
                sentences = all(" " in part for part in parts)
                yield Said(text + end, sentences and all(one.known for one in said))


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


def _part(value: str, language: str, depth: int) -> tuple[str, bool]:
    """What stands in a place: a number in local form, a name, a sentence by its own template."""
    if _NUMBER.fullmatch(value):
        return Figure(localised(value, language), value), True
    if value in WORDS:
        return translation(language).gettext(value), True
    if _NAMES.fullmatch(value):
        return value, True
    return _said(value, language, depth)
