"""Writes docs/remedies.md: every remedy with what it changes and what it treats, from its card.

python docs/remedies.py
"""

from pathlib import Path

from unvanish.remedies import REMEDIES
from unvanish.remedies.remedy import Remedy

PAGE = Path(__file__).resolve().parent / "remedies.md"


def page() -> str:
    """The text of the page."""
    return "\n".join(
        [
            "# All remedies",
            "",
            "<!-- Written by docs/remedies.py from the cards in src/unvanish/remedies. -->",
            "",
            "What can be done about a finding, the smallest intervention first. The same words in a "
            "terminal: `unvanish explain NAME`.",
            "",
            "*Level* is how large the change is: wiring, the training loop, values, the activation, norms, "
            "skips, recurrent cells; advice changes nothing and says what its author has to do. *Keep* is "
            "the smallest `keep=` that allows it: with `function` nothing in the model is exchanged, "
            "inserted or wrapped, whatever the remedy. *Safety* says whether the model computes the "
            "same right after the change. A remedy that can be an edit in one program and "
            "advice in another is listed as an edit.",
            "",
            "| remedy | level | keep | safety | treats |",
            "|---|---|---|---|---|",
            *(_row(remedy) for remedy in REMEDIES),
            *(part for remedy in REMEDIES for part in _section(remedy)),
            "",
        ]
    )


def _row(remedy: Remedy) -> str:
    name = remedy.card.name
    treats = ", ".join(f"[{finding}](findings/{finding}.md)" for finding in remedy.treats)
    return f"| [{name}](#{name}) | {remedy.level} | {remedy.keep} | {remedy.safety} | {treats} |"


def _section(remedy: Remedy) -> tuple[str, ...]:
    card = remedy.card
    return (
        "",
        f"## {card.name}",
        "",
        f"**{card.title[0].upper()}{card.title[1:]}.** {card.what}",
        "",
        f"*When it harms.* {card.harms}",
        "",
        f"*Reference.* {card.reference}",
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
