"""Writes docs/lessons: a page, a picture, a worksheet and a notebook for each lesson; the gallery.

python docs/lessons.py

What was measured comes from docs/lessons/records.json, which docs/lessons_record.py writes.
"""

import html
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from findings import in_markdown
from lessons_notebooks import notebook
from lessons_pictures import picture

from unvanish.lessons import LESSONS
from unvanish.lessons.lesson import Lesson
from unvanish.lessons.questions import QUESTIONS, Question
from unvanish.lessons.reading import source, told

FOLDER = Path(__file__).resolve().parent / "lessons"
WRITTEN = (
    "<!-- Written by docs/lessons.py from src/unvanish/lessons and records.json: not by hand. -->"
)
LETTERS = "abcdef"
WIDE = "&emsp;" * 8
"""Room to write in a column."""


def files() -> dict[str, str]:
    """The text of every file by its path under docs/lessons."""
    records = json.loads((FOLDER / "records.json").read_text("utf-8"))
    written = {"README.md": gallery(records)}
    for one in LESSONS:
        record = records[one.finding]
        written |= {
            f"{one.finding}.md": page(one, record),
            f"{one.finding}.svg": picture(one.title, record),
            f"{one.finding}.ipynb": notebook(one, record["steps"]),
            f"worksheets/{one.finding}.md": worksheet(one, record["steps"]),
        }
    return written


def gallery(records: dict[str, Any]) -> str:
    """All lessons with their pictures."""
    rows = [
        f"| [![{one.title}]({one.finding}.svg)]({one.finding}.md) "
        f"| **[{one.title}]({one.finding}.md)**<br>{one.finding}<br>"
        f"{_outcome(records[one.finding])}<br>"
        f"[worksheet](worksheets/{one.finding}.md) · [notebook]({one.finding}.ipynb) |"
        for one in LESSONS
    ]
    return "\n".join(
        [
            "# Lessons",
            "",
            WRITTEN,
            "",
            "Each is a small program with one fault and the same program with the smallest cure. Every one "
            "runs in seconds, on data made on the spot:",
            "",
            "```\nunvanish diagnose unvanish.lessons.depth_decay:sick\n"
            "unvanish diagnose unvanish.lessons.depth_decay:well\n```",
            "",
            "In a notebook or a Python shell, with the question, both diagnoses and both trainings:",
            "",
            "```python\nimport unvanish\n\n"
            'lesson = unvanish.teach("depth-decay")\n'
            "print(lesson)  # the story, and a question to answer first\n"
            "print(lesson.sick)  # the diagnosis\n"
            "print(lesson.well)\n"
            "print(lesson.train())  # both programs, trained\n"
            "print(lesson.answer)\n```",
            "",
            "Red is the sick program, blue the cured one; all axes are logarithmic. On the left the "
            "gradient on its way from the loss (right end) to the input (left end), or over time; on "
            "the right the loss while both are trained by the same loop.",
            "",
            "| | |",
            "|---|---|",
            *rows,
            "",
        ]
    )


def page(one: Lesson, record: dict[str, Any]) -> str:
    """One lesson."""
    question = QUESTIONS.get(one.finding)
    sick, well = record["sick"], record["well"]
    healthy = one.target.removesuffix("sick") + "well"
    left = [name for name in well["findings"] if name not in ("blind-spot",)]
    parts = [
        f"# {one.title}",
        WRITTEN,
        f"[All lessons](README.md) · finding [{one.finding}](../findings/{one.finding}.md) · "
        f"[worksheet](worksheets/{one.finding}.md) · [notebook]({one.finding}.ipynb)",
        f"![Gradient and loss, sick and cured]({one.finding}.svg)",
        in_markdown(told(one)[0]),
        *(_asked(question) if question else ()),
        "## The program",
        f"```python\n{source(one)}\n```",
        "## What is said about it",
        f"```\nunvanish diagnose {one.target}\n```",
        f"```text\n{sick['report']}\n```",
        "## What it is",
        in_markdown(told(one)[1]),
        "## The cure",
        in_markdown(one.cure),
        f"```\nunvanish diagnose {healthy}\n```",
        f"```text\n{well['report']}\n```"
        if left
        else f"It says: *{html.escape(well['report'].splitlines()[0], quote=False)}*",
        "## Before and after",
        f"Both programs trained for {record['steps']} steps on half of their samples, by their own step "
        "or optimizer, else by Adam at 1e-3.",
        _table(record),
        *(_answered(question) if question else ()),
    ]
    return "\n\n".join(parts) + "\n"


def worksheet(one: Lesson, steps: int) -> str:
    """One page to print, to be filled in by hand."""
    question = QUESTIONS.get(one.finding)
    line = "\\_" * 60
    parts = [
        f"# Worksheet: {one.title}",
        WRITTEN,
        "Name: " + "\\_" * 30 + "  Date: " + "\\_" * 12,
        in_markdown(told(one)[0]),
    ]
    if question is not None:
        parts += [
            f"**1. Predict, before anything is run.** {question.asks}",
            "\n".join(
                f"- ☐ {letter}) {choice}"
                for letter, choice in zip(LETTERS, question.choices, strict=False)
            ),
            f"Because: {line}",
        ]
    first = 1 if question is None else 2
    parts += [
        f"**{first}. Run.**",
        f'```python\nimport unvanish\n\nlesson = unvanish.teach("{one.finding}")\nprint(lesson.sick)\n'
        f"print(lesson.train(steps={steps}))\n```",
        f"| what you read | sick{WIDE} | cured{WIDE} |\n|---|---|---|\n"
        "| first finding, and where | | |\n"
        "| the number that shows it | | |\n"
        "| loss at the start | | |\n"
        f"| loss after {steps - 1} steps | | |\n"
        "| right answers, or loss, on unseen samples | | |",
        f"**{first + 1}. Explain** the number in one sentence: {line}",
        f"**{first + 2}. Cure.** What is the smallest change of the program "
        f"(`print(lesson.source)`) that would help? {line}",
        "Then compare with `lesson.answer`.",
    ]
    return "\n\n".join(parts) + "\n"


def _asked(question: Question) -> Iterable[str]:
    yield "## Predict, then run"
    yield in_markdown(question.asks)
    yield "\n".join(
        f"- **{letter})** {in_markdown(choice)}"
        for letter, choice in zip(LETTERS, question.choices, strict=False)
    )


def _answered(question: Question) -> Iterable[str]:
    yield "## The answer to the question"
    right = f"**{LETTERS[question.right]})** {in_markdown(question.choices[question.right])}"
    yield f"{right}: {in_markdown(question.because)}"


def _table(record: dict[str, Any]) -> str:
    return "\n".join(["| | sick | cured |", "|---|--:|--:|", *_rows(record)])


def _rows(record: dict[str, Any]) -> Iterable[str]:
    sick, well = record["sick"], record["well"]
    yield f"| loss at the start | {_number(sick['losses'][0])} | {_number(well['losses'][0])} |"
    last = len(sick["losses"]) - 1
    yield f"| loss after {last} steps | {_number(sick['losses'][-1])} | {_number(well['losses'][-1])} |"
    if sick["right"] is not None and well["right"] is not None:
        yield f"| right answers on unseen samples | {sick['right']:.0%} | {well['right']:.0%} |"
    else:
        yield f"| loss on unseen samples | {_number(sick['unseen'])} | {_number(well['unseen'])} |"
    yield (
        f"| weight tensors that moved | {sick['moved']} of {sick['tensors']} "
        f"| {well['moved']} of {well['tensors']} |"
    )


def _outcome(record: dict[str, Any]) -> str:
    """The row that tells most: right answers where there are any, else the last loss."""
    sick, well = record["sick"], record["well"]
    known = sick["right"] is not None and well["right"] is not None
    if known and abs(sick["right"] - well["right"]) >= 0.05:
        return f"right on unseen samples: {sick['right']:.0%}, cured {well['right']:.0%}"
    if sick["moved"] < well["moved"]:
        return f"weight tensors that move: {sick['moved']}, cured {well['moved']}"
    return f"loss: {_number(sick['losses'][-1])}, cured {_number(well['losses'][-1])}"


def _number(value: float | None) -> str:
    return "NaN" if value is None else f"{value:.4g}"


def main() -> None:
    """Write all files, and remove those of lessons that are no more."""
    written = files()
    (FOLDER / "worksheets").mkdir(parents=True, exist_ok=True)
    for old in FOLDER.rglob("*.*"):
        if old.relative_to(FOLDER).as_posix() not in {*written, "records.json"}:
            old.unlink()
    for name, text in written.items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
