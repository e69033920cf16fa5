"""What was observed, in a line."""

from typing import TYPE_CHECKING

from unvanish.languages import filled, ngettext, recognised
from unvanish.languages import gettext as _

if TYPE_CHECKING:
    from unvanish.diagnosis import Diagnosis


def conditions(diagnosis: "Diagnosis") -> str:
    """On what it was observed: sizes, batches, mode, device, seed, versions."""
    seen = diagnosis.trace.conditions
    trace = diagnosis.trace
    mode = _("train mode") if seen.training else _("eval mode")
    parts = [
        filled(_("loss {loss:.4g}"), loss=seen.loss) if seen.loss is not None else "",
        filled(ngettext("{count} ops", "{count} ops", len(trace.ops)), count=len(trace.ops)),
        filled(
            ngettext(
                "{count} layers on the trunk", "{count} layers on the trunk", len(trace.layers)
            ),
            count=len(trace.layers),
        ),
        filled(
            _("{trainable:,} of {parameters:,} parameters train"),
            trainable=seen.trainable,
            parameters=seen.parameters,
        ),
        filled(
            ngettext("{count} batch(es)", "{count} batch(es)", seen.batches), count=seen.batches
        ),
        mode,
        seen.device,
        filled(_("seed {seed}"), seed=seen.seed) if seen.seed is not None else "",
        f"torch {seen.torch}",
    ]
    line = ", ".join(part for part in parts if part)
    return "; ".join([line, *map(recognised, seen.notes)])
