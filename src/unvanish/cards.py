"""Cards: the words that go with a finding, kept apart from the numbers."""

import textwrap
from dataclasses import dataclass

from unvanish.errors import BadInput


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
            parts += [heading, textwrap.fill(" ".join(body.split()), 88, initial_indent="  ", subsequent_indent="  "), ""]
        return "\n".join(parts).rstrip() + "\n"


def explain(name: str) -> Card:
    """The card of a finding by name (``"depth-decay"``) or code (``"UV301"``).

    Raises:
        BadInput: there is no such card; the message lists the nearest names.

    >>> explain("UV301").name
    'depth-decay'
    """
    import difflib

    from unvanish.causes import CAUSES

    cards = {cause.card.name: cause.card for cause in CAUSES}
    by_code = {card.code: card for card in cards.values()}
    found = cards.get(name.strip().lower()) or by_code.get(name.strip().upper())
    if found is None:
        near = difflib.get_close_matches(name, cards, n=3, cutoff=0.3)
        hint = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(sorted(cards))}."
        raise BadInput(f"there is no card named {name!r}: {hint}")
    return found
