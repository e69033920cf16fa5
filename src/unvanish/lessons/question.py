"""A question to answer before anything is run: what to choose from, what is so, and why."""

import textwrap
from dataclasses import dataclass
from typing import Any

from unvanish.languages import gettext as _

LETTERS = "abcdef"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Predict, then run: ``asks``, with ``choices``, of which number ``right`` (from 0) is so.

    What decides is a run: of both programs of a lesson, or of the lab after a slider was moved.
    ``because`` is for afterwards: what the run shows, and why. All are kept in English and said in
    the language of the moment.
    """

    asks: str
    choices: tuple[str, ...]
    right: int
    because: str

    @property
    def sentences(self) -> tuple[str, ...]:
        """All that there is to translate."""
        return (self.asks, *self.choices, self.because)

    @property
    def lettered(self) -> list[tuple[str, str]]:
        """The choices with their letters."""
        return [(letter, _(text)) for letter, text in zip(LETTERS, self.choices, strict=False)]

    @property
    def answer(self) -> str:
        """The right choice with its letter, and why."""
        letter, choice = self.lettered[self.right]
        return f"{letter}) {choice}: {_(self.because)}"

    def to_json(self) -> dict[str, Any]:
        """For a page."""
        return {
            "question": _(self.asks),
            "answers": [choice for _letter, choice in self.lettered],
            "right": self.right,
            "explanation": _(self.because),
        }

    def __str__(self) -> str:
        choices = [f"  {letter}) {choice}" for letter, choice in self.lettered]
        return "\n".join([textwrap.fill(_(self.asks), 88), *choices])
