"""One page to print for each lesson, to be filled in by hand, in the language of the moment."""

from findings import in_markdown
from lessons_pages import WRITTEN

from unvanish.languages import filled
from unvanish.languages import gettext as _
from unvanish.lessons.lesson import Lesson
from unvanish.lessons.reading import told

WIDE = "&emsp;" * 8
"""Room to write in a column."""
LINE = "\\_" * 60


def worksheet(one: Lesson) -> str:
    """Predict, run, explain, cure."""
    last = filled(_("loss after {steps} steps"), steps=one.steps - 1)
    smallest = filled(
        _("What is the smallest change of the program ({command}) that would help?"),
        command="`print(lesson.source)`",
    )
    title = filled(_("Worksheet: {title}"), title=_(one.title))
    asked = [f"- ☐ {letter}) {choice}" for letter, choice in one.question.lettered]
    parts = [
        f"# {title}",
        WRITTEN,
        f"{_('Name:')} " + "\\_" * 30 + f"  {_('Date:')} " + "\\_" * 12,
        in_markdown(told(one)[0]),
        f"**1. {_('Predict, before anything is run.')}** {_(one.question.asks)}",
        "\n".join(asked),
        f"{_('Because:')} {LINE}",
        f"**2. {_('Run.')}**",
        f'```python\nimport unvanish\n\nlesson = unvanish.teach("{one.page}")\nprint(lesson.sick)\n'
        "print(lesson.train())\n```",
        f"| {_('what you read')} | {_('sick')}{WIDE} | {_('cured')}{WIDE} |\n|---|---|---|\n"
        f"| {_('first finding, and where')} | | |\n"
        f"| {_('the number that shows it')} | | |\n"
        f"| {_('loss at the start')} | | |\n"
        f"| {last} | | |\n"
        f"| {_('right answers, or loss, on unseen samples')} | | |",
        f"**3. {_('Explain the number in one sentence.')}** {LINE}",
        f"**4. {_('Cure.')}** {smallest} {LINE}",
        filled(_("Then compare with {command}."), command="`lesson.answer`"),
    ]
    return "\n\n".join(parts) + "\n"
