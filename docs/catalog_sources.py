"""Everything there is to say, by domain: read from calls in the sources and from imported records."""

import ast
import inspect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click
from babel.messages.extract import extract
from catalog_carried import carried

SOURCES = Path(__file__).resolve().parent.parent / "src" / "unvanish"
REPORTING = (
    "report",
    "cli",
    "cards.py",
    "languages",
    "surgery/describe.py",
    "remedies/remedy.py",
    "lessons/lesson.py",
    "treatment",
    "trial",
)
CALLS = {"_": None, "gettext": None, "marked": None, "ngettext": (1, 2)}
OF_PAGES = {"t": None, "n": (1, 2)}


@dataclass(frozen=True, slots=True)
class Message:
    """One sentence: its English, its English plural if it has one, where it is said."""

    text: str
    plural: str
    place: str


def messages() -> dict[str, list[Message]]:
    """The sentences of each domain, each once, in the order in which they are met."""
    return {
        "report": _once([*_calls(*REPORTING), *_next(), *_help()]),
        "findings": _once(_of_cards("title", "says", "clear", "do")),
        "details": _once(Message(text, "", place) for text, place in carried()),
        "cards": _once(_of_cards("what", "hurts", "apart")),
        "remedies": _once(_of_remedies()),
        "lessons": _once([*_of_lessons(), *_calls("lessons"), *_of_pages()]),
        "pages": _once([*_calls("web", "lab"), *_of_javascript()]),
    }


def _once(found: Iterable[Message]) -> list[Message]:
    """Each English text once, with all of its places."""
    by_text: dict[str, Message] = {}
    for message in found:
        if not message.text:
            continue
        known = by_text.get(message.text)
        if known is None:
            by_text[message.text] = message
        else:
            plural = known.plural or message.plural
            by_text[message.text] = Message(message.text, plural, known.place)
    return list(by_text.values())


def _calls(*places: str) -> Iterator[Message]:
    """``_("...")`` and ``ngettext("...", "...", n)`` in Python files."""
    for place in places:
        path = SOURCES / place
        for file in [path] if path.suffix == ".py" else sorted(path.rglob("*.py")):
            yield from _in_file("python", file, CALLS)


def _of_javascript() -> Iterator[Message]:
    for file in sorted((SOURCES / "web" / "static").rglob("*.js")):
        if not file.name.endswith(".min.js"):  # another project's
            yield from _in_file("javascript", file, OF_PAGES)


def _in_file(kind: str, file: Path, calls: dict[str, tuple[int, ...] | None]) -> Iterator[Message]:
    place = file.relative_to(SOURCES).as_posix()
    with file.open("rb") as source:
        for _, said, _, _ in extract(kind, source, keywords=calls):  # type: ignore[arg-type]
            one, *many = [said] if isinstance(said, str) else said
            yield Message(one, many[0] if many else "", place)


def _next() -> Iterator[Message]:
    from unvanish.report.next_steps import NEXT

    for remedy, said in NEXT.items():
        yield Message(said, "", f"next: {remedy}")


def _help() -> Iterator[Message]:
    """What --help says of each command and option."""
    from unvanish.cli import commands

    for name, command in [("", commands), *sorted(commands.commands.items())]:
        yield Message(
            inspect.cleandoc(command.help or ""), "", f"unvanish {name}: help".replace(" :", ":")
        )
        for option in command.params:
            if isinstance(option, click.Option) and option.help:
                yield Message(option.help, "", f"unvanish {name} {option.opts[-1]}")


def _of_cards(*fields: str) -> Iterator[Message]:
    from unvanish.causes import CAUSES

    for cause in CAUSES:
        for field in fields:
            yield Message(getattr(cause.card, field), "", f"{cause.card.name}: {field}")


def _of_remedies() -> Iterator[Message]:
    from unvanish.remedies import REMEDIES

    for remedy in REMEDIES:
        for field in ("title", "what", "harms"):
            yield Message(getattr(remedy.card, field), "", f"{remedy.card.name}: {field}")


def _of_lessons() -> Iterator[Message]:
    from unvanish.lessons import ALL

    for lesson in ALL:
        letters = [f"choice {letter}" for letter, _ in lesson.question.lettered]
        asked = ["question", *letters, "because"]
        for field, text in zip(("title", "story", "cure", *asked), lesson.sentences, strict=True):
            yield Message(text, "", f"{lesson.name}: {field}")


def _of_pages() -> Iterator[Message]:
    """What stands around the lessons on their pages, worksheets and notebooks."""
    for file in sorted(Path(__file__).resolve().parent.glob("lessons*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):  # f-strings included
            match node:
                case ast.Call(func=ast.Name(id="_"), args=[ast.Constant(value=str(text))]):
                    yield Message(text, "", f"docs/{file.name}")
                case _:
                    pass
