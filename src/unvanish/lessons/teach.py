"""unvanish.teach: a lesson in a notebook or a shell: its story, a question, both programs to run."""

import html
import textwrap
from dataclasses import dataclass
from functools import cached_property

from unvanish.diagnosis import Diagnosis, diagnose
from unvanish.errors import BadInput
from unvanish.lessons import LESSONS, lesson
from unvanish.lessons.lesson import Lesson, Maker
from unvanish.lessons.practice import STEPS, Practice, practise
from unvanish.lessons.questions import QUESTIONS, Question
from unvanish.lessons.reading import source, told
from unvanish.preserve import seeded

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
    def question(self) -> Question | None:
        """What to predict before anything is run; ``None`` where the lesson has no such question."""
        return QUESTIONS.get(self.lesson.finding)

    @property
    def answer(self) -> Shown:
        """The answer to the question, the rest of the story, and what cures the program."""
        said = [told(self.lesson)[1], f"The cure: {self.lesson.cure}"]
        if self.question:
            said.insert(0, self.question.answer)
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

    def train(self, steps: int = STEPS) -> "Trained":
        """Train both programs for ``steps`` on half of their samples.

        Raises:
            BadInput: ``steps`` is no whole number of 1 or more.
        """
        if not isinstance(steps, int) or steps < 1:
            raise BadInput(f"steps must be a whole number of 1 or more, got {steps!r}.")
        return Trained(
            practise(self.lesson.sick, steps, self.seed),
            practise(self.lesson.well, steps, self.seed),
        )

    def __str__(self) -> str:
        one = self.lesson
        parts = [f"{one.title}  ({one.finding})", textwrap.fill(told(one)[0], WIDTH)]
        if self.question:
            parts.append(f"Predict, then run:\n{self.question}")
        parts.append(
            "Go on with: .source (the program), .sick and .well (both diagnoses), .train() (both "
            "trained), .answer"
        )
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
        steps = len(self.sick.losses) - 1
        rows = [("loss at the start", self.sick.losses[0], self.well.losses[0])]
        rows += [(f"loss after {steps} steps", self.sick.losses[-1], self.well.losses[-1])]
        shown = [(what, f"{sick:.4g}", f"{well:.4g}") for what, sick, well in rows]
        sick, well = self.sick, self.well
        if sick.right is not None and well.right is not None:
            what = "right answers on unseen samples"
            shown.append((what, f"{sick.right:.0%}", f"{well.right:.0%}"))
        else:
            shown.append(("loss on unseen samples", f"{sick.unseen:.4g}", f"{well.unseen:.4g}"))
        moved = [f"{one.moved} of {one.tensors}" for one in (sick, well)]
        return [*shown, ("weight tensors that moved", moved[0], moved[1])]

    def __str__(self) -> str:
        lines = [("", "sick", "well"), *self.rows()]
        return "\n".join(f"{what:<32}{sick:>14}{well:>14}" for what, sick, well in lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return Shown(str(self))._repr_html_()


def teach(name: str | None = None, seed: int = 0) -> Teaching | Shown:
    """A lesson to go through in a notebook or a shell; without a name, the list of them.

    Args:
        name: a finding (``"depth-decay"``).
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
    listed = [f"{one.finding:<26}{one.title}" for one in LESSONS]
    return Shown("\n".join([*listed, "", 'unvanish.teach("depth-decay") opens one of them.']))
