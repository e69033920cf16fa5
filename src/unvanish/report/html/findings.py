"""Findings as cards: the sentence, the numbers behind it, where it is, and what the card says, folded."""

from collections.abc import Mapping, Sequence

from unvanish.cards import Card
from unvanish.causes import explain
from unvanish.causes.cause import Finding
from unvanish.errors import UnvanishError
from unvanish.languages import filled, ngettext, recognised
from unvanish.languages import gettext as _
from unvanish.report.evidence import numbers
from unvanish.report.html.markup import Markup, joined, tag
from unvanish.report.next_steps import NEXT
from unvanish.report.sections import SEVERITY, split
from unvanish.report.sentences import sentence

_PLACES = 6
_NUMBERS = 8
_ALL_PLACES = 1000


def finding_card(finding: Finding, number: int) -> Markup:
    """One finding of a diagnosis."""
    reason = filled(_("follows from {cause}"), cause=finding.because) if finding.because else None
    shares = split(finding)
    steps = [_(NEXT[name]) for name in finding.remedies if name in NEXT]
    return tag(
        "article",
        head(f"{number}. {finding.name}", finding.severity, finding.code, reason),
        tag("p", sentence(finding)),
        tag("p", shares, class_="soft") if shares else None,
        evidence_list(finding.evidence),
        places_list(finding.where),
        [tag("h4", _("What to do, in this order")), tag("ol", *(tag("li", s) for s in steps))]
        if steps
        else None,
        folded_card(finding.name),
        class_="card",
    )


def head(title: str, severity: str, *aside: str | None) -> Markup:
    """The heading of a card: its name, how bad it is, and what else there is to say."""
    said = _(SEVERITY[severity]) if severity in SEVERITY else _("alarm")
    return tag(
        "h3",
        title,
        " ",
        tag("span", said, class_=f"badge {severity}"),
        *(joined([" ", tag("span", one, class_="soft small")]) for one in aside if one),
    )


def evidence_list(evidence: Mapping[str, float]) -> Markup | None:
    """What was measured, each number with its name."""
    entries = [tag("div", tag("dt", name), tag("dd", figure)) for name, figure in numbers(evidence)]
    if not entries:
        return None
    shown = tag("dl", *entries[:_NUMBERS], class_="evidence")
    if len(entries) <= _NUMBERS:
        return shown
    said = ngettext("{count} more number", "{count} more numbers", len(entries) - _NUMBERS)
    more = tag("summary", filled(said, count=len(entries) - _NUMBERS))
    return joined([shown, tag("details", more, tag("dl", *entries[_NUMBERS:], class_="evidence"))])


def places_list(where: Sequence[str]) -> Markup | None:
    """The first places, the others folded away."""
    if not where:
        return None
    shown = tag("p", _("Where:"), " ", _names(where[:_PLACES]))
    if len(where) <= _PLACES:
        return shown
    rest = where[_PLACES:_ALL_PLACES]
    said = ngettext("{count} more place", "{count} more places", len(where) - _PLACES)
    more = tag("summary", filled(said, count=len(where) - _PLACES))
    left = len(where) - _ALL_PLACES
    end = filled(_(" … and {count:,} more"), count=left) if left > 0 else None
    return joined([shown, tag("details", more, tag("p", _names(rest), end))])


def _names(where: Sequence[str]) -> list[object]:
    said: list[object] = []
    for name in where:
        said += [", " if said else "", tag("span", name or _("(model)"), class_="name")]
    return said


def folded_card(name: str) -> Markup | None:
    """What the card of a finding says, folded away; ``None`` where it has none."""
    try:
        card = explain(name)
    except (UnvanishError, KeyError):
        return None
    if not isinstance(card, Card):
        return None
    parts = (
        (_("What it is"), _(card.what)),
        (_("Why it hurts"), _(card.hurts)),
        (_("How it is told apart from what looks like it"), _(card.apart)),
        (_("What to do"), _(card.do)),
        (_("Reference"), card.reference),
    )
    said = [[tag("h4", heading), tag("p", recognised(body))] for heading, body in parts if body]
    title = filled(_("About this finding: {title}"), title=_(card.title))
    return tag("details", tag("summary", title), *said)
