"""An alarm in one English sentence, as logs and recordings have it."""

from string import Formatter

from unvanish.causes import explain
from unvanish.errors import UnvanishError
from unvanish.languages import speaking
from unvanish.recording import Event
from unvanish.report.sentences import fill

OWN = {"where", "places", "detail"}


def sentence_said(event: Event) -> str:
    """The card's sentence, where the alarm has all numbers that it asks for; else its own words.

    What a deep look finds has them, and its own words are a part of that sentence only.
    """
    if "because_onset" in event.evidence:
        return event.detail
    try:
        says = explain(event.name).says
    except UnvanishError:
        return event.detail
    asked = {name for _, name, _, _ in Formatter().parse(says) if name}
    known = {*event.evidence, *OWN} - (set() if event.detail else {"detail"})
    if asked - known:
        return event.detail
    with speaking("en"):
        return fill(says, event.evidence, event.where, event.detail)
