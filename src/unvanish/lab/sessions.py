"""Several learners on one server: each gets the newest of what it asked, none can crowd out the rest."""

import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

from unvanish.errors import BadInput
from unvanish.lab.judging import judged
from unvanish.lab.looking import Look, look
from unvanish.lab.measure import pictured
from unvanish.lab.settings import Settings
from unvanish.lab.turns import Turns
from unvanish.languages import gettext as _
from unvanish.languages import spoken
from unvanish.surgery import Edit

LEARNERS: Final = 64
"""Learners that are remembered; the one that was quiet longest is forgotten first."""
CURES: Final = 8
"""Cures remembered for each."""
ANSWERS: Final = 128
"""Answers kept, pictures and verdicts, as lessons and going back ask the same again."""
LOOKS: Final = 4
"""Nets kept as they were observed, for the verdict that is asked for next. One may be 13 MB large."""
TRIALS: Final = 32
"""Cures kept whole, as a class presses the same button on the same net."""
QUEUE: Final = 12
"""Questions that may wait."""
LETS_PAST: Final = QUEUE
"""Pictures, of those asked for later, that go before a verdict: they are looked at first."""

State = tuple[Settings, str]
"""Where the sliders stand, and the name of a cure."""
Key = TypeVar("Key")
Value = TypeVar("Value")


@dataclass(slots=True)
class Learner:
    """What the server knows of one page: the state it looks at, and cures no slider stands for."""

    wants: State | None = None
    cures: OrderedDict[str, tuple[Settings, tuple[Edit, ...]]] = field(
        default_factory=OrderedDict[str, tuple[Settings, tuple[Edit, ...]]]
    )


class Sessions:
    """All learners of a server. One net is measured at a time."""

    def __init__(self) -> None:
        self._learners: OrderedDict[str, Learner] = OrderedDict()
        self._answers: OrderedDict[Any, dict[str, Any]] = OrderedDict()
        self._cured: OrderedDict[Settings, Mapping[str, Any]] = OrderedDict()
        self._looks: OrderedDict[State, Look] = OrderedDict()
        self._turns = Turns()
        self._guard = threading.Lock()
        self._waiting = 0

    def measured(self, name: str, settings: Settings, cure: str = "") -> dict[str, Any] | None:
        """The picture at these settings; ``None`` where the learner has asked for others since.

        Raises:
            BadInput: too many wait already.
        """
        state, edits, learner = self._asked(name, settings, cure, newest=True)

        def answer() -> dict[str, Any]:
            return pictured(settings, self._look(state, edits))

        return self._answered(("picture", *state), lambda: learner.wants == state, 0, answer)

    def judged(self, name: str, settings: Settings, cure: str = "") -> dict[str, Any] | None:
        """The verdict at these settings; ``None`` where the learner has asked for others since.

        Raises:
            BadInput: too many wait already.
        """
        state, edits, learner = self._asked(name, settings, cure, newest=False)

        def wanted() -> bool:
            return learner.wants == state

        def answer() -> dict[str, Any] | None:
            return judged(settings, self._look(state, edits), wanted)

        return self._answered(("verdict", *state, spoken()), wanted, LETS_PAST, answer)

    def _asked(
        self, name: str, settings: Settings, cure: str, newest: bool
    ) -> tuple[State, tuple[Edit, ...], Learner]:
        """The state that a question is about, the edits of its cure, and who asks.

        ``newest``: that is what the learner looks at from now on.
        """
        edits = self.edits(name, settings, cure)
        state = settings, cure if edits else ""
        with self._guard:
            learner = self._learner(name)
            if newest or learner.wants is None:
                learner.wants = state
        return state, edits, learner

    def _answered(
        self,
        key: tuple[Any, ...],
        wanted: Callable[[], bool],
        lets_past: int,
        answer: Callable[[], dict[str, Any] | None],
    ) -> dict[str, Any] | None:
        with self._guard:
            if key in self._answers:
                return self._known(key)
            if self._waiting >= QUEUE:
                raise BadInput(_("The server is busy with other learners: wait a moment."))
            self._waiting += 1
        try:
            with self._turns.turn(lets_past):
                with self._guard:  # somebody else may have asked the same meanwhile
                    if key in self._answers:
                        return self._known(key)
                made = answer() if wanted() else None
        finally:
            with self._guard:
                self._waiting -= 1
        if made is not None:
            with self._guard:
                _keep(self._answers, key, made, ANSWERS)
        return made

    def _known(self, key: tuple[Any, ...]) -> dict[str, Any]:
        self._answers.move_to_end(key)
        return self._answers[key]

    def _look(self, state: State, edits: tuple[Edit, ...]) -> Look:
        """The net of these settings, observed; by whose turn it is."""
        settings, cure = state
        key = _net(settings), cure
        seen = self._looks.get(key) or look(settings, edits)
        _keep(self._looks, key, seen, LOOKS)
        return seen

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
            _keep(cures, cure, (settings, tuple(edits)), CURES)
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
            _keep(self._cured, settings, result, TRIALS)

    def _learner(self, name: str) -> Learner:
        learner = self._learners.get(name) or Learner()
        _keep(self._learners, name, learner, LEARNERS)
        return learner


def _keep(kept: OrderedDict[Key, Value], key: Key, value: Value, most: int) -> None:
    """Put it in as the newest; what was not asked for longest goes."""
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > most:
        kept.popitem(last=False)


def _net(settings: Settings) -> Settings:
    """The settings without what changes how it is trained alone."""
    return replace(settings, optimizer="sgd", rate=1.0, clip=0.0)
