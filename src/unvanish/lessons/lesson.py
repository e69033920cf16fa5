"""Lesson: a program with one fault, the same program cured, and the story that goes with them."""

import textwrap
from dataclasses import dataclass
from typing import Any, Protocol

from unvanish.cards import WIDTH, filled_to
from unvanish.languages import filled
from unvanish.languages import gettext as _
from unvanish.lessons.question import Question

Program = dict[str, Any]
"""Keyword arguments of ``unvanish.diagnose``."""


class Maker(Protocol):
    """A function that makes a program; called without arguments it is a command-line target."""

    def __call__(self, seed: int = 0) -> Program: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """One fault to try ``unvanish`` on.

    ``sick`` makes the program that has the fault named by ``finding``, ``well`` the same program
    with the smallest change that cures it; both take a seed, and what they return is given to
    ``unvanish.diagnose`` as keyword arguments. ``story`` says who meets it and what to look at,
    ``cure`` in one sentence what differs between the two, ``question`` what to predict before
    either is run; after ``steps`` of practice the cured one is ahead.
    """

    name: str
    finding: str
    title: str
    story: str
    cure: str
    sick: Maker
    well: Maker
    question: Question
    steps: int = 100

    @property
    def page(self) -> str:
        """What its page is called, and what ``unvanish.teach`` takes: its name with dashes."""
        return self.name.replace("_", "-")

    @property
    def sentences(self) -> tuple[str, ...]:
        """All that there is to translate."""
        return (self.title, self.story, self.cure, *self.question.sentences)

    @property
    def target(self) -> str:
        """The sick program as the command line takes it: ``unvanish diagnose <target>``."""
        return f"unvanish.lessons.{self.name}:sick"

    def text(self, width: int = WIDTH) -> str:
        """The lesson as plain text for a terminal; the last line is the command to try it."""
        story = filled_to(width, _(self.story))
        cure = filled_to(width, filled(_("The cure: {cure}"), cure=_(self.cure)))
        title = textwrap.fill(filled(_("Lesson: {title}"), title=_(self.title)), width)
        command = filled(_("Try it: {command}"), command=f"unvanish diagnose {self.target}")
        return f"{title}\n{story}\n{cure}\n  {command}\n"
