"""Which language is spoken, numbers and plural forms as CLDR has them, catalogs complete and sound."""

import importlib.util
import json
import re
import sys
import threading
from decimal import Decimal
from pathlib import Path
from types import ModuleType

import pytest
from babel import Locale
from babel.numbers import format_decimal, format_percent

from unvanish import languages
from unvanish.errors import BadInput
from unvanish.languages import (
    LANGUAGES,
    Filling,
    catalog_json,
    chosen,
    filled,
    ngettext,
    number,
    plural_categories,
    recognised,
    speaking,
    spoken,
    translation,
    written,
)

DOCS = Path(__file__).resolve().parent.parent / "docs"
OTHERS = ("ru", "tr", "uz")
COUNTS = (0, 1, 2, 3, 4, 5, 10, 11, 12, 14, 20, 21, 22, 25, 100, 101, 111, 112, 121, 1001)
COMPLETE = {
    "report": OTHERS,
    "findings": OTHERS,
    "details": OTHERS,
    "cards": OTHERS,
    "remedies": OTHERS,
    "lessons": OTHERS,
    "pages": OTHERS,
}
"""Domains that are translated to the last message; one that gets so far is added here."""


def _catalogs() -> ModuleType:
    sys.path.insert(0, str(DOCS))
    try:
        spec = importlib.util.spec_from_file_location("catalogs", DOCS / "catalogs.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(str(DOCS))


@pytest.fixture(scope="module")
def catalogs() -> ModuleType:
    return _catalogs()


@pytest.fixture(scope="module")
def wanted(catalogs: ModuleType) -> dict[str, list]:
    return catalogs.messages()


def test_asked_language_wins_then_the_variable_then_the_locale(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG", "UNVANISH_LANGUAGE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    assert chosen() == "en"
    monkeypatch.setenv("LANG", "tr_TR.UTF-8")
    assert chosen() == "tr"
    monkeypatch.setenv("LC_ALL", "uz_UZ@cyrillic")
    assert chosen() == "uz"
    monkeypatch.setenv("UNVANISH_LANGUAGE", "ru")
    assert chosen() == "ru"
    assert chosen("en") == "en"
    monkeypatch.setenv("UNVANISH_LANGUAGE", "xx")  # set for no call in particular: passed over
    assert chosen() == "uz"
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    assert chosen() == "en"
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("LANGUAGE", "ru")
    assert chosen() == "en"


@pytest.mark.parametrize("asked", ["xx", "", "russian", "../ru"])
def test_unknown_language_is_said_with_those_there_are(asked: str) -> None:
    with pytest.raises(BadInput, match="en, ru, tr, uz"):
        chosen(asked)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("value", [0, 7, 1234, 1234567, 0.5, -12.25, 1234567.891])
def test_numbers_are_written_as_cldr_writes_them(language: str, value: float) -> None:
    locale = "uz_Latn_UZ" if language == "uz" else language
    for digits in (0, 1, 3):
        rounded = Decimal(f"{value:.{digits}f}")
        pattern = "#,##0" + ("." + "0" * digits if digits else "")
        expected = format_decimal(rounded, format=pattern, locale=locale)
        assert number(value, language, digits) == expected


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("share", [0.0, 0.07, 0.125, 1.0])
def test_shares_are_written_as_cldr_writes_them(language: str, share: float) -> None:
    locale = "uz_Latn_UZ" if language == "uz" else language
    pattern = str(Locale.parse(locale).percent_formats[None].pattern).replace("0%", "0.0%")
    pattern = pattern.replace("0\N{NO-BREAK SPACE}%", "0.0\N{NO-BREAK SPACE}%")
    pattern = pattern.replace("%#,##0", "%#,##0.0")
    assert written(share, ".1%", language) == format_percent(share, format=pattern, locale=locale)


def test_a_template_keeps_words_and_widths() -> None:
    fill = Filling("ru").fill
    assert fill("{name} {x:>8.2f}|", {"name": "a.b,c", "x": 1.5}) == "a.b,c     1,50|"
    assert fill("{x:.2g} {flag}", {"x": 1e-7, "flag": True}) == "1e-07 True"
    assert Filling("en").fill("{x:,.1f}", {"x": 1234.5}) == f"{1234.5:,.1f}"


@pytest.mark.parametrize(
    ("count", "form"), [(1, "слой"), (2, "слоя"), (5, "слоёв"), (21, "слой"), (112, "слоёв")]
)
def test_russian_plural_forms(count: int, form: str) -> None:
    said = Filling("ru").fill("{n:.0f} {n:|слой|слоя|слоёв}", {"n": float(count)})
    assert said == f"{count} {form}"
    with speaking("ru"):
        shown = ngettext("{count} layers on the trunk", "{count} layers on the trunk", count)
        assert filled(shown, count=count) == f"{count} {form} на стволе"


@pytest.mark.parametrize(("language", "step"), [("tr", "adım"), ("uz", "qadam")])
def test_turkish_and_uzbek_nouns_stay_singular_after_a_number(language: str, step: str) -> None:
    for count in (1, 2):
        with speaking(language):
            said = filled(ngettext("{count:,} steps", "{count:,} steps", count), count=count)
        assert said == f"{count} {step}"


@pytest.mark.parametrize("language", OTHERS)
def test_plural_rule_is_that_of_cldr(language: str) -> None:
    rule = Locale.parse(language).plural_form
    for count in COUNTS:
        form = translation(language).plural(count)  # type: ignore[attr-defined]
        assert plural_categories(language)[form] == rule(count)


def test_a_fraction_and_the_unknown_take_the_second_form() -> None:
    fill = Filling("ru").fill
    assert fill("{n:.1f} {n:|слой|слоя|слоёв}", {"n": 1.5}) == "1,5 слоя"
    assert fill("{n} {n:|слой|слоя|слоёв}", {"n": "1,021"}) == "1,021 слой"


def test_english_is_the_key_and_says_itself() -> None:
    assert translation("en").gettext("Ruled out") == "Ruled out"
    assert catalog_json("en") == {}
    assert recognised("the logarithm of zero") == "the logarithm of zero"


def test_an_empty_message_does_not_say_the_header() -> None:
    for language in LANGUAGES:
        with speaking(language):
            assert languages.gettext("") == ""


def test_what_no_catalog_has_is_said_in_english() -> None:
    for language in OTHERS:
        assert translation(language).gettext("no such sentence") == "no such sentence"
        with speaking(language):
            assert recognised("no such sentence") == "no such sentence"


def test_each_thread_speaks_its_own_language() -> None:
    heard: dict[str, set[str]] = {language: set() for language in LANGUAGES}
    gate = threading.Barrier(len(LANGUAGES))

    def speak(language: str) -> None:
        with speaking(language):
            for _ in range(50):
                gate.wait(10)
                heard[language] |= {spoken(), languages.gettext("Ruled out")}

    threads = [threading.Thread(target=speak, args=(language,)) for language in LANGUAGES]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert heard["en"] == {"en", "Ruled out"}
    assert heard["ru"] == {"ru", "Исключено"}
    assert heard["tr"] == {"tr", "Elenenler"}
    assert heard["uz"] == {"uz", "Istisno qilingan"}
    assert spoken() == "en"


def test_speaking_without_a_language_keeps_the_one_that_is_spoken() -> None:
    with speaking("tr"), speaking():
        assert spoken() == "tr"
    with pytest.raises(BadInput), speaking("xx"):
        pass
    assert spoken() == "en"


@pytest.mark.parametrize("language", OTHERS)
def test_a_page_gets_flat_json_with_cldr_categories(language: str) -> None:
    json.dumps(catalog_json(language))
    forms = catalog_json(language, "report")
    categories = {key.rpartition("|")[2] for key in forms if key.startswith("{count:,} steps|")}
    assert categories == {*plural_categories(language), "other"}
    assert all(isinstance(said, str) and said for said in forms.values())


def test_catalogs_are_neither_stale_nor_wrong(catalogs: ModuleType) -> None:
    """No message is missing or stale, places and forms are right, .mo files are those of the .po."""
    found = list(catalogs.problems())
    assert not found, "\n".join([*found, "run: python docs/catalogs.py update, translate, compile"])


@pytest.mark.parametrize(
    ("domain", "language"), [(d, one) for d, several in COMPLETE.items() for one in several]
)
def test_complete_domains_are_complete(
    catalogs: ModuleType, wanted: dict[str, list], domain: str, language: str
) -> None:
    known = {
        catalogs._key(entry.id)
        for entry in catalogs.stored(language, domain)
        if entry.id and catalogs._said(entry.string) and not entry.fuzzy
    }
    assert [message.text for message in wanted[domain] if message.text not in known] == []


def test_figures_of_the_page_are_those_of_the_catalogs(
    catalogs: ModuleType, wanted: dict[str, list]
) -> None:
    page = (DOCS / "languages.md").read_text(encoding="utf-8")
    assert f"{catalogs.BEGIN}\n{catalogs.figures(wanted)}\n{catalogs.END}" in page


@pytest.mark.parametrize(
    ("english", "said", "fault"),
    [
        ("{count} of {all}", "{count}", "places"),
        ("{x:.2f} of it", "{x:.3f}", "places"),
        ("{x:.0f} layers", "{x:.0f} {y:|a|b|c}", "no place"),
        ("{x:.0f} layers", "{x:.0f} {x:|a|b}", "2 forms"),
        (("{count} step", "{count} steps"), ("{count} шаг", "{count} шага"), "2 plural forms"),
        (("{count} step", "{count} steps"), ("{count} шаг", "{count} шага", ""), "2 plural forms"),
    ],
)
def test_the_check_finds_faults(
    catalogs: ModuleType, english: str | tuple[str, str], said: str | tuple[str, ...], fault: str
) -> None:
    assert any(fault in found for found in catalogs.faults(english, said, 3))


def test_the_check_lets_sound_translations_pass(catalogs: ModuleType) -> None:
    many = ("{count} шаг", "{count} шага", "{count} шагов")
    assert not list(catalogs.faults(("{count} step", "{count} steps"), many, 3))
    chosen_form = "{x:.0f} {x:|слой|слоя|слоёв}"
    assert not list(catalogs.faults("{x:.0f} layers", chosen_form, 3))


@pytest.mark.parametrize("language", OTHERS)
def test_letters_are_those_of_the_language(language: str, catalogs: ModuleType) -> None:
    """Uzbek has U+02BB in oʻ and gʻ and U+02BC elsewhere; no letter slips in from another script."""
    for domain in languages.catalogs.DOMAINS:
        for entry in catalogs.stored(language, domain):
            if not entry.id or not entry.string:
                continue
            for said in [entry.string] if isinstance(entry.string, str) else entry.string:
                scripts = {_script(word) for word in re.sub(r"{.*?}", " ", said).split()}
                assert "mixed" not in scripts, said
                if language == "uz":
                    assert not any(pair in said for pair in ("o'", "g'", "oʼ", "gʼ")), said
                if language != "ru":
                    assert "Cyrillic" not in scripts, said


def _script(word: str) -> str:
    for part in re.findall(r"\w+", word):
        cyrillic = any("\u0400" <= letter <= "\u04ff" for letter in part)
        latin = any(letter.isascii() and letter.isalpha() for letter in part)
        if cyrillic and latin:
            return "mixed"
        if cyrillic:
            return "Cyrillic"
    return "other"
