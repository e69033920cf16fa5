"""Cards: the words that go with a finding, kept apart from the numbers."""

import textwrap
from dataclasses import dataclass

from unvanish.languages import gettext as _

WIDTH = 88
"""Columns of a card where nobody says how wide the terminal is."""


def filled_to(width: int, words: str) -> str:
    """A paragraph of a card: set in, as many lines as it takes."""
    return textwrap.fill(
        " ".join(words.split()), width, initial_indent="  ", subsequent_indent="  "
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What a finding means. ``says`` is a sentence with places for evidence, ``{name:format}``.

    ``says`` may also use ``{where}`` (the first place), ``{places}`` (how many) and ``{detail}``.
    ``clear`` is what is said when the cause was looked for and not met.
    """

    code: str
    name: str
    title: str
    says: str
    what: str
    hurts: str
    apart: str
    do: str
    reference: str
    clear: str = ""

    def text(self, width: int = WIDTH) -> str:
        """The card as plain text for a terminal, in the language of the moment."""
        parts = [textwrap.fill(f"{self.code} {self.name}: {_(self.title)}", width), ""]
        for heading, body in (
            (_("What it is"), _(self.what)),
            (_("Why it hurts"), _(self.hurts)),
            (_("How it is told apart from what looks like it"), _(self.apart)),
            (_("What to do"), _(self.do)),
            (_("Reference"), self.reference),
        ):
            parts += [heading, filled_to(width, body), ""]
        return "\n".join(parts).rstrip() + "\n"
