"""Translations as they are shipped: one compiled catalog for each language and domain."""

import functools
import gettext
from importlib import resources

from unvanish.languages.choice import LANGUAGES

DOMAINS = ("report", "findings", "details", "cards", "remedies", "lessons", "pages")
"""What a person reads, by where it is read. ``docs/languages.md`` says what belongs to each.

report: the terminal reports and the command line; findings: what a report says of a finding;
details: sentences that observations are made of; cards, remedies, lessons: ``unvanish explain``;
pages: what JavaScript shows.
"""
PAGES = "pages"
DETAILS = "details"


class Catalog(gettext.GNUTranslations):
    """Translations of one domain; of an empty message the translation is empty too."""

    def gettext(self, message: str) -> str:
        """The translation, or the message itself; gettext keeps its header under ``""``."""
        return super().gettext(message) if message else ""

    def forms(self) -> dict[str, str | list[str]]:
        """Every message with its translation, or its translations by plural form."""
        found: dict[str, str | list[str]] = {}
        for key, said in sorted(self._catalog.items(), key=str):  # type: ignore[attr-defined]
            if isinstance(key, tuple):
                found.setdefault(key[0], []).append(said)  # type: ignore[union-attr]
            elif key:
                found[key] = said
        return found


@functools.cache
def translation(language: str) -> gettext.NullTranslations:
    """All domains of a language as one; what is not translated stays English. For any thread."""
    if language == "en":
        return gettext.NullTranslations()
    if language not in LANGUAGES:
        raise ValueError(f"{language!r} is none of {LANGUAGES}: ask chosen() first")
    first, *others = (_read(language, domain) for domain in DOMAINS)
    for other in others:
        first.add_fallback(other)
    return first


def plural_categories(language: str) -> tuple[str, ...]:
    """CLDR's names of the plural forms, in the order in which a catalog has them.

    The same names come from ``Intl.PluralRules`` in a browser. Russian has a further one, for
    fractions, that reads like ``few``.
    """
    return ("one", "few", "many") if language == "ru" else ("one", "other")


@functools.cache
def _forms(language: str, domain: str) -> dict[str, str | list[str]]:
    return {} if language == "en" else _read(language, domain).forms()


def templates(language: str, domain: str) -> dict[str, str]:
    """The messages of a domain that have no plural forms, with their translations."""
    return {text: said for text, said in _forms(language, domain).items() if isinstance(said, str)}


def catalog_json(language: str, domain: str = PAGES) -> dict[str, str]:
    """The messages of one domain for a page's JavaScript; empty for English.

    A message with plural forms stands there once a form, as ``"{count} step|few"``: its singular
    English text, a bar, and CLDR's category, which ``Intl.PluralRules`` gives for a number. Fractions
    in Russian (``other``) read like ``few``.
    """
    found: dict[str, str] = {}
    for message, said in _forms(language, domain).items():
        if isinstance(said, str):
            found[message] = said
            continue
        named = dict(zip(plural_categories(language), said, strict=True))
        named.setdefault("other", said[1])
        found |= {f"{message}|{category}": form for category, form in named.items()}
    return found


def _read(language: str, domain: str) -> Catalog:
    place = resources.files("unvanish.languages") / language / f"{domain}.mo"
    with place.open("rb") as file:
        return Catalog(file)
