"""Several learners on one server: each gets the newest of what it asked, none can crowd out the rest."""

import secrets
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from unvanish.errors import BadInput
from unvanish.lab.measure import measure
from unvanish.lab.settings import Settings
from unvanish.languages import gettext as _
from unvanish.languages import spoken
from unvanish.surgery import Edit

LEARNERS: Final = 64
"""Learners that are remembered; the one that was quiet longest is forgotten first."""
CURES: Final = 8
"""Cures remembered for each."""
ANSWERS: Final = 64
"""Answers kept, as lessons and going back ask the same again."""
TRIALS: Final = 32
"""Cures kept whole, as a class presses the same button on the same net."""
QUEUE: Final = 12
"""Measurements that may wait."""


@dataclass(slots=True)
class Learner:
    """What the server knows of one page: its last question, and cures no slider stands for."""

    asked: int = 0
    cures: OrderedDict[str, tuple[Settings, tuple[Edit, ...]]] = field(
        default_factory=OrderedDict[str, tuple[Settings, tuple[Edit, ...]]]
    )


class Sessions:
    """All learners of a server. One net is measured at a time."""

    def __init__(self) -> None:
        self._learners: OrderedDict[str, Learner] = OrderedDict()
        self._answers: OrderedDict[Any, dict[str, Any]] = OrderedDict()
        self._cured: OrderedDict[Settings, Mapping[str, Any]] = OrderedDict()
        self._turn = threading.Lock()
        self._guard = threading.Lock()
        self._waiting = 0

    def measured(self, name: str, settings: Settings, cure: str = "") -> dict[str, Any] | None:
        """What is measured at these settings; ``None`` where the learner has asked again since.

        Raises:
            BadInput: too many wait already.
        """
        edits = self.edits(name, settings, cure)
        key = settings, cure if edits else "", spoken()
        with self._guard:
            if key in self._answers:
                self._answers.move_to_end(key)
                return self._answers[key]
            if self._waiting >= QUEUE:
                raise BadInput(_("The server is busy with other learners: wait a moment."))
            learner = self._learner(name)
            learner.asked += 1
            ticket = learner.asked
            self._waiting += 1
        try:
            with self._turn:
                if learner.asked != ticket:
                    return None
                answer = measure(settings, edits)
        finally:
            with self._guard:
                self._waiting -= 1
        with self._guard:
            self._answers[key] = answer
            while len(self._answers) > ANSWERS:
                self._answers.popitem(last=False)
        return answer

    def edits(self, name: str, settings: Settings, cure: str) -> tuple[Edit, ...]:
        """The edits of a remembered cure, if it was made for this very net."""
        with self._guard:
            made = self._learner(name).cures.get(cure) if cure else None
        if made is None or _net(made[0]) != _net(settings):
            return ()
        return made[1]

    def remember(self, name: str, settings: Settings, edits: Sequence[Edit]) -> str:
        """Keep the edits of a cure; the name by which a page asks for them."""
        if not edits:
            return ""
        cure = secrets.token_urlsafe(9)
        with self._guard:
            cures = self._learner(name).cures
            cures[cure] = settings, tuple(edits)
            while len(cures) > CURES:
                cures.popitem(last=False)
        return cure

    def cured(self, settings: Settings) -> Mapping[str, Any] | None:
        """What came of a cure of this very net before; the same seeds would give the same again."""
        with self._guard:
            return self._cured.get(settings)

    def keep(self, settings: Settings, result: Mapping[str, Any]) -> None:
        """Keep what came of a cure; one that found nothing may have lacked the time."""
        if not result["cured"]:
            return
        with self._guard:
            self._cured[settings] = result
            while len(self._cured) > TRIALS:
                self._cured.popitem(last=False)

    def _learner(self, name: str) -> Learner:
        learner = self._learners.setdefault(name, Learner())
        self._learners.move_to_end(name)
        while len(self._learners) > LEARNERS:
            self._learners.popitem(last=False)
        return learner


def _net(settings: Settings) -> Settings:
    """The settings without what changes how it is trained alone."""
    return replace(settings, optimizer="sgd", rate=1.0, clip=0.0)
