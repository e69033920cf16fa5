"""Every sentence that a person reads, in English, Russian, Turkish and Uzbek.

English is written where it is used and is the key; the catalogs beside this file translate it. What
they lack is said in English.
"""

from unvanish.languages.catalogs import catalog_json, plural_categories, translation
from unvanish.languages.choice import LANGUAGES, VARIABLE, chosen
from unvanish.languages.numbers import Filling, localised, number, written
from unvanish.languages.recognising import recognised
from unvanish.languages.speaking import (
    figure,
    filled,
    gettext,
    marked,
    ngettext,
    speak,
    speaking,
    spoken,
)

__all__ = [
    "LANGUAGES",
    "VARIABLE",
    "Filling",
    "catalog_json",
    "chosen",
    "figure",
    "filled",
    "gettext",
    "localised",
    "marked",
    "ngettext",
    "number",
    "plural_categories",
    "recognised",
    "speak",
    "speaking",
    "spoken",
    "translation",
    "written",
]
