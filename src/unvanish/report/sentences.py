"""A finding in one sentence: the words of its card with its numbers."""

from collections.abc import Mapping
from string import Formatter
from typing import Any

from unvanish.causes import explain
from unvanish.causes.cause import Finding
from unvanish.languages import filled, recognised
from unvanish.languages import gettext as _


def sentence(finding: Finding) -> str:
    """The finding in one sentence: the card's words with this finding's numbers.

    An alarm of a running training has other numbers than a diagnosis: where the card asks for one
    that is not there, and the finding has words of its own, those are the sentence.
    """
    card = explain(finding.name)
    asked = {name for _, name, _, _ in Formatter().parse(card.says) if name}
    if finding.detail and asked - {"where", "places", "detail"} - set(finding.evidence):
        return recognised(finding.detail)
    return fill(_(card.says), finding.evidence, finding.where, finding.detail)


def fill(
    template: str,
    evidence: Mapping[str, float],
    where: tuple[str, ...] = (),
    detail: str | None = None,
) -> str:
    """A card's template, in the language of the moment, with numbers; ``?`` where one is not known."""
    values = _Known(evidence)
    values["where"] = where[0] if where else _("the model")
    values["places"] = len(where)
    values["detail"] = recognised(detail) if detail else "?"
    return filled(template, values)


class _Known(dict[str, Any]):
    def __missing__(self, key: str) -> "_Unknown":
        return _Unknown()


class _Unknown:
    def __format__(self, spec: str) -> str:
        return "?"
