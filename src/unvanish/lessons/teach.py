"""unvanish.teach: a lesson in a notebook or a shell: its story, a question, both programs to run."""

import html
import textwrap
from dataclasses import dataclass
from functools import cached_property

from unvanish.diagnosing import diagnose
from unvanish.diagnosis import Diagnosis
from unvanish.errors import BadInput
from unvanish.languages import filled
from unvanish.languages import gettext as _
from unvanish.lessons import ALL, lesson
from unvanish.lessons.lesson import Lesson, Maker
from unvanish.lessons.practice import Practice, compared, practise
from unvanish.lessons.question import Question
from unvanish.lessons.reading import source, told
from unvanish.randomness import seeded

WIDTH = 88


class Shown:
    """Text that a shell prints and a notebook displays; equal in both."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"<pre style='line-height:1.3;white-space:pre-wrap'>{html.escape(self._text)}</pre>"


@dataclass(frozen=True)
class Teaching:
    """One lesson, to be gone through step by step.

    Displaying it says what its author saw and asks a question. ``sick`` and ``well`` are the
    diagnoses of both programs, made when they are first asked for; ``train()`` trains both;
    ``answer`` is for afterwards: the answer, the rest of the story, the cure. ``source`` is the
    program.
    """

    lesson: Lesson
    seed: int = 0

    @property
    def question(self) -> Question:
        """What to predict before anything is run."""
        return self.lesson.question

    @property
    def answer(self) -> Shown:
        """The answer to the question, the rest of the story, and what cures the program."""
        cure = filled(_("The cure: {cure}"), cure=_(self.lesson.cure))
        said = [self.question.answer, told(self.lesson)[1], cure]
        return Shown("\n\n".join(textwrap.fill(part, WIDTH) for part in said))

    @property
    def source(self) -> Shown:
        """The program, as it stands in its file."""
        return Shown(source(self.lesson))

    @cached_property
    def sick(self) -> Diagnosis:
        """The diagnosis of the program with the fault."""
        return self._diagnosed(self.lesson.sick)

    @cached_property
    def well(self) -> Diagnosis:
        """The diagnosis of the same program, cured."""
        return self._diagnosed(self.lesson.well)

    def _diagnosed(self, make: Maker) -> Diagnosis:
        with seeded(self.seed):
            program = make(self.seed)
        return diagnose(**program)

    def train(self, steps: int | None = None) -> "Trained":
        """Train both programs for ``steps`` (``None``: the lesson's own) on half of their samples.

        Raises:
            BadInput: ``steps`` is no whole number of 1 or more.
        """
        steps = self.lesson.steps if steps is None else steps
        if not isinstance(steps, int) or steps < 1:
            raise BadInput(f"steps must be a whole number of 1 or more, got {steps!r}.")
        return Trained(
            practise(self.lesson.sick, steps, self.seed),
            practise(self.lesson.well, steps, self.seed),
        )

    def __str__(self) -> str:
        one = self.lesson
        predict = _("Predict, then run:")
        parts = [
            f"{_(one.title)}  ({one.page})",
            textwrap.fill(told(one)[0], WIDTH),
            f"{predict}\n{self.question}",
            _(
                "Go on with: .source (the program), .sick and .well (both diagnoses), .train() (both "
                "trained), .answer"
            ),
        ]
        return "\n\n".join(parts)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return Shown(str(self))._repr_html_()


@dataclass(frozen=True, repr=False)
class Trained:
    """Both programs of a lesson after the same number of steps; displayed as a table."""

    sick: Practice
    well: Practice

    def rows(self) -> list[tuple[str, str, str]]:
        """What was measured, of the sick program, of the cured one; as text."""
        return compared(self.sick, self.well)

    def __str__(self) -> str:
        lines = [("", _("sick"), _("cured")), *self.rows()]
        return "\n".join(f"{what:<32}{sick:>14}{well:>14}" for what, sick, well in lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return Shown(str(self))._repr_html_()


def teach(name: str | None = None, seed: int = 0) -> Teaching | Shown:
    """A lesson to go through in a notebook or a shell; without a name, the list of them.

    Args:
        name: a finding (``"depth-decay"``) or a subject (``"ten-thousand"``).
        seed: of the program's weights and data.

    Raises:
        BadInput: there is no such lesson; the message lists the nearest names.

    >>> import unvanish
    >>> lesson = unvanish.teach("depth-decay")
    >>> lesson.sick.findings[0].name, lesson.well.healthy
    ('depth-decay', True)
    """
    if name is not None:
        return Teaching(lesson(name), seed)
    listed = [f"{one.page:<26}{_(one.title)}" for one in ALL]
    opens = filled(_("{command} opens one of them."), command='unvanish.teach("depth-decay")')
    return Shown("\n".join([*listed, "", opens]))
