"""The first page of the lessons in the language of the moment: the course, then all the pictures."""

from typing import Any

from lessons_pages import WRITTEN, home

from unvanish.lab.lessons import GUIDED
from unvanish.languages import LANGUAGES, figure, filled, spoken
from unvanish.languages import gettext as _
from unvanish.lessons import ALL, lesson
from unvanish.lessons.lesson import Lesson
from unvanish.lessons.topics import TOPICS, Topic

NAMES = {"en": "English", "ru": "Русский", "tr": "Türkçe", "uz": "Oʻzbekcha"}
EXAMPLE = (
    "```python\nimport unvanish\n\n"
    'lesson = unvanish.teach("depth-decay")\n'
    "print(lesson)\n"
    "print(lesson.sick)\n"
    "print(lesson.well)\n"
    "print(lesson.train())\n"
    "print(lesson.answer)\n```"
)


def gallery(records: dict[str, Any]) -> str:
    """What there is to learn, in order, and a picture of each lesson."""
    parts = [
        f"# {_('Lessons')}",
        WRITTEN,
        _languages(),
        _(
            "Each is a small program with one fault and the same program with the smallest cure. "
            "Nearly every one runs in seconds, on data made on the spot:"
        ),
        "```\nunvanish diagnose unvanish.lessons.depth_decay:sick\n"
        "unvanish diagnose unvanish.lessons.depth_decay:well\n```",
        _(
            "In a notebook or a Python shell: the story and a question to answer first, both "
            "diagnoses, both programs trained, and the answer:"
        ),
        EXAMPLE,
        _("In the browser, with the same questions and with sliders:"),
        "```\nunvanish lab\n```",
        f"## {_('The course')}",
        _course(),
        f"## {_('All lessons')}",
        _(
            "Red is the sick program, blue the cured one; all axes are logarithmic. On the left the "
            "gradient on its way from the loss (right end) to the input (left end), or over time; on "
            "the right the loss while both are trained by the same loop."
        ),
        "\n".join(["| | |", "|---|---|", *(_row(one, records[one.page]) for one in ALL)]),
    ]
    return "\n\n".join(parts) + "\n"


def _languages() -> str:
    links: list[str] = []
    for language in LANGUAGES:
        folder = "" if language == "en" else f"{language}/"
        way = folder if spoken() == "en" else f"../{folder}"
        links.append(
            NAMES[language] if language == spoken() else f"[{NAMES[language]}]({way}README.md)"
        )
    return " · ".join(links)


def _course() -> str:
    head = (_("subject"), _("program and page"), _("pages of the lab with sliders"))
    rows = [_subject(topic) for topic in TOPICS]
    note = filled(
        _("Every program is a page of the [lab]({page}) as well: predict, then run it there."),
        page=f"{home()}lab.md",
    )
    table = ["| | {} | {} | {} |".format(*head), "|--:|---|---|---|"]
    table += [f"| {number} | {row} |" for number, row in enumerate(rows, 1)]
    return "\n".join(table) + f"\n\n{note}"


def _subject(topic: Topic) -> str:
    moves = {guided.name: guided.title for guided in GUIDED}
    programs = [f"[{_(lesson(page).title)}]({page}.md)" for page in topic.lessons]
    pages = [_(moves[name]) for name in topic.moves]
    return f"**{_(topic.title)}** | {'<br>'.join(programs)} | {'<br>'.join(pages)}"


def _row(one: Lesson, record: dict[str, Any]) -> str:
    return (
        f"| [![{_(one.title)}]({one.page}.svg)]({one.page}.md) "
        f"| **[{_(one.title)}]({one.page}.md)**<br>{one.page}<br>{_outcome(record)}<br>"
        f"[{_('worksheet')}](worksheets/{one.page}.md) · [{_('notebook')}]({one.page}.ipynb) |"
    )


def _outcome(record: dict[str, Any]) -> str:
    """The row that tells most: right answers where there are any, else the last loss."""
    sick, well = record["sick"], record["well"]
    known = sick["right"] is not None and well["right"] is not None
    if known and abs(sick["right"] - well["right"]) >= 0.05:
        shares = {side: figure(record[side]["right"], ".0%") for side in ("sick", "well")}
        return filled(_("right on unseen samples: {sick}, cured {well}"), shares)
    if sick["moved"] < well["moved"]:
        counts = {"sick": sick["moved"], "well": well["moved"]}
        return filled(_("weight tensors that move: {sick}, cured {well}"), counts)
    ends = {side: _number(record[side]["losses"][-1]) for side in ("sick", "well")}
    return filled(_("loss: {sick}, cured {well}"), ends)


def _number(value: float | None) -> str:
    return "NaN" if value is None else figure(value, ".4g")
