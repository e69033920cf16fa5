"""Guided lessons: a state of the lab, a question to answer before it is run, and what it showed."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from unvanish.lab.settings import Settings, bounded, has_digits
from unvanish.languages import gettext as _
from unvanish.lessons import LESSONS

_STORIES = {lesson.finding: lesson for lesson in LESSONS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Guided:
    """Predict, then run.

    ``start`` are the sliders while the question is asked, ``then`` what is changed when it is run.
    ``right`` is the number of the right answer. ``finding`` names the lesson of
    ``unvanish.lessons`` that tells the story behind it, if there is one.
    """

    name: str
    title: str
    start: Settings
    question: str
    answers: tuple[str, ...]
    right: int
    then: Mapping[str, Any] = field(default_factory=dict[str, Any])
    explanation: str
    finding: str = ""

    @property
    def after(self) -> Settings:
        """The sliders once it was run."""
        return bounded(replace(self.start, **self.then))

    def to_json(self) -> dict[str, Any]:
        """For a page, in the language of the moment."""
        story = _STORIES.get(self.finding)
        return {
            "name": self.name,
            "title": _(self.title),
            "start": self.start.as_query(),
            "question": _(self.question),
            "answers": [_(answer) for answer in self.answers],
            "right": self.right,
            "after": self.after.as_query(),
            "explanation": _(self.explanation),
            "finding": self.finding,
            "story": _(story.story) if story else "",
        }


PLAIN = Settings(data="digits" if has_digits() else "circles", depth=20, width=32)
"""What lessons on layers begin with: twenty sigmoids."""
