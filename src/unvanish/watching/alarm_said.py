"""An alarm in one English sentence, as logs and recordings have it."""

from unvanish.languages import speaking
from unvanish.recording import Event
from unvanish.report.recorded import sentence_of


def sentence_said(event: Event) -> str:
    """The card's sentence, where the alarm has all numbers that it asks for; else its own words.

    What a deep look finds has them, and its own words are a part of that sentence only.
    """
    with speaking("en"):
        return sentence_of(event) or event.detail
