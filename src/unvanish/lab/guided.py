"""Guided pages of the lab: a question to answer first, and the run that decides."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from unvanish.lab.settings import Settings, bounded, has_digits
from unvanish.languages import gettext as _
from unvanish.lessons import lesson
from unvanish.lessons.lesson import Lesson
from unvanish.lessons.question import Question


@dataclass(frozen=True, slots=True, kw_only=True)
class Guided:
    """Predict, then move a slider.

    ``start`` are the sliders while the question is asked, ``then`` what is changed when it is run.
    ``finding`` names the lesson of ``unvanish.lessons`` that tells the story behind it, if there is
    one.
    """

    name: str
    title: str
    start: Settings
    question: Question
    then: Mapping[str, Any] = field(default_factory=dict[str, Any])
    finding: str = ""

    @property
    def after(self) -> Settings:
        """The sliders once it was run."""
        return bounded(replace(self.start, **self.then))

    def to_json(self) -> dict[str, Any]:
        """For a page, in the language of the moment."""
        return {
            "name": self.name,
            "title": _(self.title),
            "start": self.start.as_query(),
            "after": self.after.as_query(),
            **self.question.to_json(),
            "finding": self.finding,
            "story": _(lesson(self.finding).story) if self.finding else "",
        }


def program_page(one: Lesson) -> dict[str, Any]:
    """A lesson whose program no slider can build: predict, then run it, sick and cured."""
    return {
        "name": f"program-{one.page}",
        "title": _(one.title),
        "program": one.page,
        **one.question.to_json(),
        "finding": one.finding,
        "story": _(one.story),
        "cure": _(one.cure),
    }


PLAIN = Settings(data="digits" if has_digits() else "circles", depth=20, width=32)
"""What lessons on layers begin with: twenty sigmoids."""
