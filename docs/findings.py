"""Writes docs/findings: one page for each cause, from its card and its lesson, and the index.

python docs/findings.py
"""

import inspect
import re
from collections.abc import Iterable
from pathlib import Path

from unvanish.causes import CAUSES
from unvanish.causes.cause import Cause
from unvanish.lessons import LESSONS
from unvanish.lessons.lesson import Lesson
from unvanish.lessons.reading import source

FOLDER = Path(__file__).resolve().parent / "findings"
LESSON_OF = {lesson.finding: lesson for lesson in LESSONS}
WRITTEN = "<!-- Written by docs/findings.py from {sources}: change those, not this page. -->\n"
EXACT = "exact: decided from structure, without statistics"
MEASURED = "measured: decided from numbers, each with its reason"
NEVER = "never a finding: it is listed under what is expected"


def pages() -> dict[str, str]:
    """The text of every page by its file name."""
    return {"README.md": index(), **{f"{c.card.name}.md": page(c) for c in CAUSES}}


def index() -> str:
    """All findings in order of precedence."""
    rows = [
        f"| {number} | [{cause.card.name}]({cause.card.name}.md) | {cause.card.code} "
        f"| {cause.card.title} | {_decided(cause).split(':')[0]} "
        f"| {LESSON_OF[cause.card.name].title if cause.card.name in LESSON_OF else ''} |"
        for number, cause in enumerate(CAUSES, 1)
    ]
    return "\n".join(
        [
            "# All findings",
            "",
            WRITTEN.format(sources="the cards in src/unvanish/causes"),
            "What `unvanish diagnose` can find, one page each: what it is, why it hurts, how it is told "
            "apart from what looks like it, what to do, and a small program that has it.",
            "",
            "The order is the order of precedence: where one state fits several names, the first one "
            "that explains the others is named first. An *exact* finding is decided from structure and "
            "needs no statistics; a *measured* one is decided from numbers that the report shows. "
            "`nothing-to-learn` and `blind-spot` are notes, no alarms, and `look-alike` is never a "
            "finding at all: what it names is listed under what is expected.",
            "",
            "The same words in a terminal: `unvanish explain NAME`.",
            "",
            "| | finding | code | what it says | how it is decided | its lesson |",
            "|--:|---|---|---|---|---|",
            *rows,
            "",
        ]
    )


def page(cause: Cause) -> str:
    """One finding: its card and its lesson."""
    card, lesson = cause.card, LESSON_OF.get(cause.card.name)
    sources = [f"src/unvanish/{home}/{_file(cause)}" for home in ("causes", "lessons")]
    parts = [
        f"# {card.name}: {card.title}",
        WRITTEN.format(sources=" and ".join(sources if lesson else sources[:1])).rstrip(),
        f"`{card.code}` · {_decided(cause)} · [all findings](README.md)",
        *_section("What it is", card.what),
        *_section("Why it hurts", card.hurts),
        *_section("How it is told apart from what looks like it", card.apart),
        *_section("What to do", card.do),
        *_kinship(cause),
        *(_program(lesson) if lesson else ()),
        *_section("Reference", card.reference),
    ]
    return "\n\n".join(parts) + "\n"


def _file(cause: Cause) -> str:
    return (inspect.getmodule(cause.find) or cause).__name__.rpartition(".")[2] + ".py"


def _decided(cause: Cause) -> str:
    if cause.card.name == "look-alike":
        return NEVER
    return EXACT if cause.exact else MEASURED


def _section(heading: str, body: str) -> tuple[str, str]:
    return f"## {heading}", in_markdown(body)


def _kinship(cause: Cause) -> Iterable[str]:
    """What it explains, and what explains it."""
    card = cause.card
    causes = [other.card.name for other in CAUSES if card.name in other.explains]
    if cause.explains or causes:
        yield "## What goes with it"
    if cause.explains:
        yield (
            f"Where they are met together, {_links(cause.explains)} "
            f"{'follows' if len(cause.explains) == 1 else 'follow'} from this one: the report names "
            "it first."
        )
    if causes:
        yield f"Where {_links(causes, 'or')} is met as well, it follows from that one."


def _links(names: Iterable[str], last: str = "and") -> str:
    links = [f"[{name}]({name}.md)" for name in names]
    return f" {last} ".join([", ".join(links[:-1]), links[-1]] if len(links) > 1 else links)


def _program(lesson: Lesson) -> Iterable[str]:
    yield f"## A program that has it: {lesson.title}"
    yield in_markdown(lesson.story)
    yield f"```python\n{source(lesson)}\n```"
    yield f"**The cure.** {in_markdown(lesson.cure)}"
    yield "Try both; the second one is cured:"
    healthy = lesson.target.removesuffix("sick") + "well"
    yield f"```\nunvanish diagnose {lesson.target}\nunvanish diagnose {healthy}\n```"


_CODE = re.compile(
    r"""(?<![\w`/.])(
        \.?\w+(?:\.\w+)*\((?:[^()]|\([^()]*\))*\)                      # calls
      | (?:\w+\.)*\w*[A-Za-z]_\w*(?:\.\w+)*(?:=\w+)?                # names with underscores
      | (?:torch|nn)(?:\.\w+)+                                        # torch's own names
      | \w+=(?:True|False) | dtype                                    # arguments
    )""",
    re.VERBOSE,
)


def in_markdown(text: str) -> str:
    """Plain words with what is code marked as code."""
    return _CODE.sub(r"`\1`", " ".join(text.split()))


def main() -> None:
    """Write all pages, and remove those of findings that are no more."""
    FOLDER.mkdir(exist_ok=True)
    written = pages()
    for old in FOLDER.glob("*.md"):
        if old.name not in written:
            old.unlink()
    for name, text in written.items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
