"""The page of one lesson, in the language of the moment."""

import html
import math
from collections.abc import Iterable
from typing import Any

from findings import in_markdown

from unvanish.languages import filled, spoken
from unvanish.languages import gettext as _
from unvanish.lessons.lesson import Lesson
from unvanish.lessons.practice import Practice, compared
from unvanish.lessons.question import Question
from unvanish.lessons.reading import source, told

WRITTEN = (
    "<!-- Written by docs/lessons.py from src/unvanish/lessons and records.json: not by hand. -->"
)


def home() -> str:
    """The way from a page of the moment's language to docs/."""
    return "../" if spoken() == "en" else "../../"


def page(one: Lesson, record: dict[str, Any]) -> str:
    """One lesson: its story, the question, the program, what is said of it, cured, the answer."""
    sick, well = record["sick"], record["well"]
    healthy = one.target.removesuffix("sick") + "well"
    left = [name for name in well["findings"] if name != "blind-spot"]
    report = well["reports"][spoken()]
    trained = _(
        "Both programs trained for {steps} steps on half of their samples, by their own step or "
        "optimizer, else by Adam at 1e-3."
    )
    parts = [
        f"# {_(one.title)}",
        WRITTEN,
        _links(one),
        f"![{_('Gradient and loss, sick and cured')}]({one.page}.svg)",
        in_markdown(told(one)[0]),
        *_asked(one.question),
        f"## {_('The program')}",
        f"```python\n{source(one)}\n```",
        f"## {_('What is said about it')}",
        f"```\nunvanish diagnose {one.target}\n```",
        f"```text\n{sick['reports'][spoken()]}\n```",
        f"## {_('What it is')}",
        in_markdown(told(one)[1]),
        f"## {_('The cure')}",
        in_markdown(_(one.cure)),
        f"```\nunvanish diagnose {healthy}\n```",
        f"```text\n{report}\n```"
        if left
        else filled(_("It says: {said}"), said=f"*{html.escape(_verdict(report), quote=False)}*"),
        f"## {_('Before and after')}",
        filled(trained, steps=record["steps"]),
        _table(record),
        f"## {_('The answer to the question')}",
        _answered(one.question),
    ]
    return "\n\n".join(parts) + "\n"


def practice(side: dict[str, Any]) -> Practice:
    """What was measured of one program, as it was before it was written down."""
    losses = [math.nan if loss is None else loss for loss in side["losses"]]
    return Practice(
        losses=tuple(losses),
        unseen=math.nan if side["unseen"] is None else side["unseen"],
        right=side["right"],
        moved=side["moved"],
        tensors=side["tensors"],
    )


def _links(one: Lesson) -> str:
    finding = filled(
        _("finding {name}"), name=f"[{one.finding}]({home()}findings/{one.finding}.md)"
    )
    return " · ".join(
        [
            f"[{_('All lessons')}](README.md)",
            finding,
            f"[{_('worksheet')}](worksheets/{one.page}.md)",
            f"[{_('notebook')}]({one.page}.ipynb)",
        ]
    )


def _verdict(report: str) -> str:
    """The first paragraph of a report on one line."""
    return " ".join(report.split("\n\n")[0].split())


def _asked(question: Question) -> Iterable[str]:
    yield f"## {_('Predict, then run')}"
    yield in_markdown(_(question.asks))
    yield "\n".join(f"- **{letter})** {in_markdown(text)}" for letter, text in question.lettered)


def _answered(question: Question) -> str:
    letter, choice = question.lettered[question.right]
    return f"**{letter})** {in_markdown(choice)}: {in_markdown(_(question.because))}"


def _table(record: dict[str, Any]) -> str:
    rows = compared(practice(record["sick"]), practice(record["well"]))
    lines = [f"| | {_('sick')} | {_('cured')} |", "|---|--:|--:|"]
    return "\n".join([*lines, *(f"| {what} | {sick} | {well} |" for what, sick, well in rows)])
