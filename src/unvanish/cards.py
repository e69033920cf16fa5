"""Cards: the words that go with a finding, kept apart from the numbers."""

import textwrap
from dataclasses import dataclass


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

    def text(self) -> str:
        """The card as plain text for a terminal."""
        parts = [f"{self.code} {self.name}: {self.title}", ""]
        for heading, body in (
            ("What it is", self.what),
            ("Why it hurts", self.hurts),
            ("How it is told apart from what looks like it", self.apart),
            ("What to do", self.do),
            ("Reference", self.reference),
        ):
            parts += [
                heading,
                textwrap.fill(
                    " ".join(body.split()), 88, initial_indent="  ", subsequent_indent="  "
                ),
                "",
            ]
        return "\n".join(parts).rstrip() + "\n"
