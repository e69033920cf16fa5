"""The report of a diagnosis as one page."""

from typing import TYPE_CHECKING

from unvanish import __version__
from unvanish.languages import filled, recognised, speaking
from unvanish.languages import gettext as _
from unvanish.report.html.activations import activation_pictures
from unvanish.report.html.document import Section, document, listed, section
from unvanish.report.html.findings import finding_card
from unvanish.report.html.flow import flow_picture
from unvanish.report.html.markup import Markup, tag
from unvanish.report.html.picture import number_pictures
from unvanish.report.html.profile import depth_profile
from unvanish.report.html.timeline import time_pictures
from unvanish.report.html.updates import updates_picture
from unvanish.report.observed import conditions
from unvanish.report.sections import (
    clear,
    expected,
    next_steps,
    predicted,
    updates,
    verdict,
    what_if,
)

if TYPE_CHECKING:
    from unvanish.diagnosis import Diagnosis


def diagnosis_page(diagnosis: "Diagnosis", language: str | None = None) -> str:
    """The whole report; ``language`` as in :func:`unvanish.languages.speaking`."""
    with speaking(language):
        number_pictures()
        return document(
            _("Gradient report"),
            _("Does the gradient arrive?"),
            verdict(diagnosis),
            *diagnosis_sections(diagnosis),
            foot=foot(),
        )


def foot() -> str:
    """By what the page was made."""
    return filled(_("Made by unvanish {version}."), version=__version__)


def diagnosis_sections(diagnosis: "Diagnosis", prefix: str = "") -> list[Section | None]:
    """All sections below the verdict, in the order in which they are asked for."""
    found = [finding for finding in diagnosis.findings if finding.name != "blind-spot"]
    cards = [finding_card(finding, number) for number, finding in enumerate(found, 1)]
    seen = [conditions(diagnosis)]
    depth, over_time, flow, units = picture_sections(diagnosis, prefix)
    return [
        depth,
        over_time,
        section(f"{prefix}findings", _("Findings"), *cards) if cards else None,
        None if cards else listed(f"{prefix}next", _("Next"), next_steps(diagnosis)),
        flow,
        units,
        _updates(diagnosis, prefix),
        listed(f"{prefix}what-if", _("What if (tried on a copy)"), _changes(diagnosis)),
        listed(f"{prefix}ruled-out", _("Ruled out"), _cleared(diagnosis)),
        listed(f"{prefix}expected", _("Looks odd, is expected"), _odd(diagnosis)),
        listed(f"{prefix}unseen", _("Not seen"), [recognised(s) for s in diagnosis.blind_spots]),
        listed(
            f"{prefix}tried", _("Tried on a copy"), [recognised(s) for s in diagnosis.experiments]
        ),
        listed(f"{prefix}observed", _("Observed"), seen),
    ]


def picture_sections(diagnosis: "Diagnosis", prefix: str = "") -> list[Section | None]:
    """What there is to look at: over depth, by skip and branch, over time, on the activations."""
    trace = diagnosis.trace
    depth, flow = depth_profile(trace.layers), flow_picture(trace.layers)
    theory = [tag("p", line, class_="soft") for line in predicted(trace)]
    return [
        _pictured(f"{prefix}depth", _("Gradient over depth"), [depth, *theory] if depth else []),
        _pictured(f"{prefix}time", _("Gradient over time"), time_pictures(trace.profiles)),
        _pictured(f"{prefix}flow", _("By skip and by branch"), [flow] if flow else []),
        _pictured(
            f"{prefix}activations", _("Where the units sit"), activation_pictures(trace.activations)
        ),
    ]


def _pictured(anchor: str, heading: str, drawn: list[Markup]) -> Section | None:
    return section(anchor, heading, *drawn) if drawn else None


def _updates(diagnosis: "Diagnosis", prefix: str) -> Section | None:
    lines = updates(diagnosis.updates)
    if not lines:
        return None
    said = tag("ul", *(tag("li", line) for line in lines))
    return section(
        f"{prefix}updates", _("Update to weight"), updates_picture(diagnosis.updates), said
    )


def _changes(diagnosis: "Diagnosis") -> list[str]:
    return [what_if(item) for item in diagnosis.what_ifs]


def _cleared(diagnosis: "Diagnosis") -> list[str]:
    return [clear(item.name, item.evidence) for item in diagnosis.ruled_out]


def _odd(diagnosis: "Diagnosis") -> list[str]:
    return [expected(item) for item in diagnosis.expected]
