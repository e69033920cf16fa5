"""Treatment: the treated copy, the edits that made it, and the measurements that say so."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from unvanish.diagnosis import Diagnosis
from unvanish.remedies.first_layers import first_layers
from unvanish.remedies.remedy import Level
from unvanish.surgery.edits import ARCHITECTURE, Edit
from unvanish.treatment.settings import settings, told
from unvanish.trial import Verdict

if TYPE_CHECKING:
    from unvanish.treatment.patch import Patch


THE_SAME = "the same as another"
"""What is given up for this alone is no candidate of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One candidate and how far it came.

    ``losses`` is the mean training loss at the end of each rung, by steps taken; ``left`` are the
    harmful findings that it leaves; ``out`` says why it was given up (``None``: it came to the end).
    ``score`` is the metric on the validation part after all steps, higher is better.
    """

    remedies: tuple[str, ...]
    level: Level
    edits: tuple[Edit, ...]
    losses: Mapping[int, float] = field(default_factory=dict[int, float])
    left: tuple[str, ...] | None = None
    score: float | None = None
    out: str | None = None

    @property
    def name(self) -> str:
        """The remedies, with the settings that tell it apart from others of the same remedies."""
        name = " + ".join(dict.fromkeys(self.remedies))
        told = "; ".join(settings(self.edits))
        return f"{name} ({told})" if told else name


@dataclass(kw_only=True)
class Treatment:
    """What :func:`unvanish.treat` gives back. ``print`` it.

    ``model`` is a copy: treated where a cure was found and proved, else unchanged; ``optimizer``
    goes with it (the user's own kind and settings, over the copy's parameters). ``edits`` made it,
    none where nothing was changed. ``verdict`` is the paired trial of the cure (``None``: none was
    needed or found), ``on_trial`` the candidate that it is of, ``trials`` every candidate,
    ``before`` and ``after`` the diagnoses, ``advice`` what no program can do for its author.
    ``said`` is the outcome in one sentence.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    edits: tuple[Edit, ...]
    verdict: Verdict | None
    trials: tuple[Tried, ...]
    before: Diagnosis
    after: Diagnosis
    said: str
    remedies: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    on_trial: Tried | None = None
    original: nn.Module
    program: Any = None

    @property
    def cured(self) -> bool:
        """Whether a cure was found and a trial says that it helps."""
        return bool(self.edits) and self.verdict is not None and helps(self.verdict)

    @property
    def well(self) -> bool:
        """Whether there was nothing to cure: no harmful finding, and nothing else had to be tried."""
        return self.before.healthy and not self.trials

    @property
    def ranked(self) -> list[Tried]:
        """The candidates, each once: by score, then those that never came to the last step.

        Only equal steps compare. How far these came is in no order of merit: the time may have
        stopped the better one earlier.
        """
        return sorted((t for t in self.trials if t.out != THE_SAME), key=_place)

    @property
    def changes_architecture(self) -> bool:
        """Whether the cure changes which functions the model computes with."""
        return any(edit.action in ARCHITECTURE for edit in self.edits)

    @property
    def only_mends_wiring(self) -> bool:
        """Whether all that changes the architecture mends a fault of the wiring.

        Remedies for values and training change the architecture only by what they put in.
        """
        if self.on_trial is None or not self.changes_architecture:
            return False
        put_in = any(edit.action in ("insert", "wrap") for edit in self.edits)
        level = self.on_trial.level
        return level == "wiring" or (level in ("loop", "values") and not put_in)

    @property
    def told(self) -> list[str]:
        """The edits in one line each, and what a new start of the first layers is for."""
        first = set(first_layers(self.before.trace.operations))
        scaled = "scale-input" in self.remedies
        return [told(edit, scaled and first.issuperset(edit.where)) for edit in self.edits]

    @cached_property
    def patch(self) -> "Patch":
        """The cure as a unified diff of the user's own source, and as a script of ten lines."""
        from unvanish.treatment.patch import make_patch

        return make_patch(self.original, self.edits, self.program)

    def __str__(self) -> str:
        from unvanish.treatment.text import render

        return render(self)

    def _repr_html_(self) -> str:
        from unvanish.report.html import treatment_cell

        return treatment_cell(self)

    def report(self, path: str | Path, language: str | None = "en") -> None:
        """Write a report: one HTML file that opens offline (a name in .html), plain text else.

        Args:
            path: the file.
            language: ``"en"``, ``"ru"``, ``"tr"`` or ``"uz"``; ``None``: what the environment says.

        Raises:
            BadInput: there is no such language, or the file cannot be written.
        """
        from unvanish.languages import speaking
        from unvanish.report import is_page, write
        from unvanish.report.html import treatment_page

        with speaking(language):
            write(path, treatment_page(self) if is_page(path) else str(self))


def _place(tried: Tried) -> tuple[bool, float, float, float]:
    """Where a candidate stands among the others, the smallest first."""
    steps = max(tried.losses, default=0)
    loss = tried.losses.get(steps, math.inf)
    score = -math.inf if tried.score is None else tried.score
    return tried.score is None, -score, -steps, math.inf if math.isnan(loss) else loss


def helps(verdict: Verdict, another_net: bool = False) -> bool:
    """Whether a trial shows a gain: in the metric, or, where that cannot tell, in the held-out loss.

    Other values and step sizes are worth a better loss with the same metric. Another net is for the
    metric's sake, unless this is at its end: all right, or no better than a constant.
    """
    if verdict.word != "no effect":
        return verdict.word == "helped"
    return verdict.loss_word == "helped" and (not another_net or _at_its_end(verdict))


def _at_its_end(verdict: Verdict) -> bool:
    """Whether an accuracy can hardly rise, or neither arm has begun to; other metrics have no end."""
    known = [mean for mean in verdict.means if mean is not None]
    if verdict.metric != "accuracy" or not known or verdict.margin is None:
        return verdict.metric != "accuracy"
    zero = -math.inf if verdict.zero_skill is None else verdict.zero_skill
    return known[0] + verdict.margin >= 1 or max(known) <= zero + verdict.margin
