"""The catalogs of translations: what there is to say, merged into the .po files, compiled, checked.

    python docs/catalogs.py update     new and changed sentences into src/unvanish/languages/*/*.po
    python docs/catalogs.py compile    the .mo files beside them, and the figures in docs/languages.md
    python docs/catalogs.py check      what is missing, stale or wrong; exit status 1 if anything is

The English is where it is used: in calls of ``_("...")`` and ``ngettext``, in ``t("...")`` of the
pages' JavaScript, and in the records that carry words (cards, lessons, the help of commands), which
are imported and read.
"""

import io
import string
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

sys.path.insert(0, str(Path(__file__).resolve().parent))
from catalog_sources import Message, messages

from unvanish.languages import LANGUAGES
from unvanish.languages.catalogs import DOMAINS

ROOT = Path(__file__).resolve().parent.parent
CATALOGS = ROOT / "src" / "unvanish" / "languages"
PAGE = ROOT / "docs" / "languages.md"
TRANSLATED = tuple(language for language in LANGUAGES if language != "en")
# From CLDR 46. Gettext's own default gives Turkish one form; CLDR tells one from other.
PLURALS = {
    "ru": (
        "nplurals=3; plural=(n%10==1 && n%100!=11 ? 0 : n%10>=2 && n%10<=4 && "
        "(n%100<10 || n%100>=20) ? 1 : 2);"
    ),
    "tr": "nplurals=2; plural=(n != 1);",
    "uz": "nplurals=2; plural=(n != 1);",
}
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)  # the date of today would change a file at every run
DATED = ("POT-Creation-Date", "PO-Revision-Date", "Generated-By", "Last-Translator", "Report-Msgid")
BEGIN, END = "<!-- figures: written by docs/catalogs.py -->", "<!-- end of figures -->"


def path_of(language: str, domain: str, kind: str = "po") -> Path:
    """Where a catalog is kept."""
    return CATALOGS / language / f"{domain}.{kind}"


def empty(language: str) -> Catalog:
    """A catalog without messages, with the language's rule of plurals."""
    catalog = Catalog(
        locale=language,
        project="unvanish",
        charset="utf-8",
        creation_date=EPOCH,
        revision_date=EPOCH,
        fuzzy=False,
    )
    catalog.mime_headers = [
        ("Plural-Forms" if name.lower() == "plural-forms" else name, value)
        for name, value in catalog.mime_headers
        if name.lower() != "plural-forms"
    ] + [("Plural-Forms", PLURALS[language])]
    return catalog


def stored(language: str, domain: str) -> Catalog:
    """The catalog as it is on disk; an empty one where there is none."""
    path = path_of(language, domain)
    if not path.is_file():
        return empty(language)
    with path.open("rb") as file:
        return read_po(file, locale=language, charset="utf-8")


def merged(language: str, domain: str, wanted: list[Message]) -> Catalog:
    """The wanted messages with the translations there are.

    Where the English at a place changed, the old translation stays as a fuzzy proposal: it is not
    used before somebody has read it.
    """
    known = {_key(entry.id): entry for entry in stored(language, domain) if entry.id}
    by_place = {entry.auto_comments[0]: entry for entry in known.values() if entry.auto_comments}
    texts = {message.text for message in wanted}
    elsewhere = {
        _key(entry.id): entry
        for other in DOMAINS
        for entry in stored(language, other)
        if entry.id and _said(entry.string) and not entry.fuzzy
    }
    catalog = empty(language)
    for message in wanted:
        identity = (message.text, message.plural) if message.plural else message.text
        old, flags = known.get(message.text), set[str]()
        if old is None or not _said(old.string):
            old = elsewhere.get(message.text, old)
        if old is None and ": " in message.place:
            before = by_place.get(message.place)
            if before is not None and _key(before.id) not in texts and before.string:
                old, flags = before, {"fuzzy"}
        said = old.string if old is not None and _fits(old.string, identity) else None
        flags |= {"fuzzy"} if old is not None and old.fuzzy else set()
        catalog.add(identity, said, flags=flags, auto_comments=[message.place])
    return catalog


def _fits(said: object, identity: str | tuple[str, str]) -> bool:
    return isinstance(said, str) == isinstance(identity, str)


def _key(identity: str | tuple[str, ...] | list[str]) -> str:
    return identity if isinstance(identity, str) else identity[0]


def as_po(catalog: Catalog) -> str:
    """A .po file's text, without the dates that change at every run."""
    file = io.BytesIO()
    write_po(file, catalog, width=96)
    lines = file.getvalue().decode("utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("msgid"))
    kept = [line for line in lines[start:] if not line.startswith(tuple(f'"{d}' for d in DATED))]
    return "\n".join(kept).rstrip() + "\n"


def as_mo(catalog: Catalog) -> bytes:
    """A .mo file's bytes: what is translated and no proposal."""
    catalog.creation_date = catalog.revision_date = EPOCH
    file = io.BytesIO()
    write_mo(file, catalog)
    return file.getvalue()


def update() -> None:
    """Write all .po files anew."""
    for domain, wanted in messages().items():
        for language in TRANSLATED:
            path_of(language, domain).parent.mkdir(exist_ok=True)
            text = as_po(merged(language, domain, wanted))
            path_of(language, domain).write_text(text, encoding="utf-8")


def compile_all() -> None:
    """Write all .mo files anew, and the figures of the page."""
    wanted = messages()
    for domain in wanted:
        for language in TRANSLATED:
            path_of(language, domain, "mo").write_bytes(as_mo(stored(language, domain)))
    if PAGE.is_file():
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        _, _, after = rest.partition(END)
        PAGE.write_text(f"{before}{BEGIN}\n{figures(wanted)}\n{END}{after}", encoding="utf-8")


def figures(wanted: dict[str, list[Message]]) -> str:
    """How much of each catalog is translated, as a table."""
    rows = [f"| domain | messages | {' | '.join(TRANSLATED)} |", "|---|--:|--:|--:|--:|"]
    for domain, said in wanted.items():
        shares = [
            f"{count} ({count / max(len(said), 1):.0%})"
            for language in TRANSLATED
            for count in [translated(language, domain, said)]
        ]
        rows.append(f"| {domain} | {len(said)} | {' | '.join(shares)} |")
    return "\n".join(rows)


def translated(language: str, domain: str, wanted: list[Message]) -> int:
    """How many of the wanted messages have a translation that is used."""
    known = {
        _key(e.id) for e in stored(language, domain) if e.id and _said(e.string) and not e.fuzzy
    }
    return sum(message.text in known for message in wanted)


def _said(string: str | tuple[str, ...] | list[str]) -> bool:
    return bool(string) if isinstance(string, str) else all(string)


def problems() -> Iterator[str]:
    """Sentences: what is missing, stale or wrong in any catalog."""
    for domain, wanted in messages().items():
        for language in TRANSLATED:
            place = f"{language}/{domain}"
            catalog = stored(language, domain)
            entries = {_key(entry.id): entry for entry in catalog if entry.id}
            texts = {message.text for message in wanted}
            yield from (f"{place}: no entry for {text!r}" for text in texts - set(entries))
            yield from (f"{place}: stale: {text!r}" for text in set(entries) - texts)
            for text, entry in entries.items():
                if entry.fuzzy:
                    yield f"{place}: the English changed, read the proposal for {text!r}"
                for fault in faults(entry.id, entry.string, catalog.num_plurals):
                    yield f"{place}: {fault} in {text!r}"
            if as_mo(catalog) != path_of(language, domain, "mo").read_bytes():
                yield f"{place}: the .mo file is not the .po file's; run compile"


def faults(
    english: str | tuple[str, ...], said: str | tuple[str, ...], plurals: int
) -> Iterator[str]:
    """What is wrong with one translation: its places, its number of forms."""
    forms = [said] if isinstance(said, str) else list(said)
    if not any(forms):
        return
    if not isinstance(english, str) and (len(forms) != plurals or not all(forms)):
        yield f"{len([form for form in forms if form])} plural forms instead of {plurals}"
    wanted = places(english if isinstance(english, str) else english[-1])
    for form in forms:
        found = {place for place in places(form) if not place[1].startswith("|")}
        choices = places(form) - found
        if found != wanted and not (len(forms) > 1 and found < wanted and _counted(found, wanted)):
            yield f"places {sorted(found)} instead of {sorted(wanted)}"
        names = {name for name, _ in wanted}
        for name, choice in choices:
            if name not in names:
                yield f"a choice by {name}, which is no place"
            if choice.count("|") != plurals:
                yield f"{choice.count('|')} forms to choose from instead of {plurals}"


def _counted(found: set[tuple[str, str]], wanted: set[tuple[str, str]]) -> bool:
    """Only the count is left out, as English does in "a step"."""
    return {name for name, _ in wanted - found} == {"count"}


def places(text: str) -> set[tuple[str, str]]:
    """The places of a template, each with how it is written."""
    return {
        (name, how or "") for _, name, how, _ in string.Formatter().parse(text) if name is not None
    }


def main() -> None:
    """Do what the first argument says."""
    asked = sys.argv[1] if len(sys.argv) == 2 else ""
    if asked == "update":
        update()
    elif asked == "compile":
        compile_all()
    elif asked == "check":
        found = list(problems())
        sys.stdout.writelines(f"{line}\n" for line in found)
        sys.exit(bool(found))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
