"""Guided lessons: a state of the lab, a question to answer before it is run, and what it showed."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from unvanish.lab.settings import Settings, bounded, has_digits
from unvanish.languages import gettext as _
from unvanish.languages import marked
from unvanish.lessons import LESSONS

_STORIES = {lesson.finding: lesson for lesson in LESSONS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Guided:
    """Predict, then run.

    ``start`` are the sliders while the question is asked, ``then`` what is changed when it is run.
    ``right`` is the number of the right answer. ``finding`` names the lesson of
    ``unvanish.lessons`` that tells the story behind it, if there is one.
    """

    name: str
    title: str
    start: Settings
    question: str
    answers: tuple[str, ...]
    right: int
    then: Mapping[str, Any] = field(default_factory=dict[str, Any])
    explanation: str
    finding: str = ""

    @property
    def after(self) -> Settings:
        """The sliders once it was run."""
        return bounded(replace(self.start, **self.then))

    def to_json(self) -> dict[str, Any]:
        """For a page, in the language of the moment."""
        story = _STORIES.get(self.finding)
        return {
            "name": self.name,
            "title": _(self.title),
            "start": self.start.as_query(),
            "question": _(self.question),
            "answers": [_(answer) for answer in self.answers],
            "right": self.right,
            "after": self.after.as_query(),
            "explanation": _(self.explanation),
            "finding": self.finding,
            "story": _(story.story) if story else "",
        }


_DATA: Final = "digits" if has_digits() else "circles"
_PLAIN: Final = Settings(data=_DATA)
_POINTS: Final = Settings(data="circles", cell="rnn", activation="tanh", steps=60)

GUIDED: tuple[Guided, ...] = (
    Guided(
        name="update-rule",
        title=marked("The update rule"),
        start=replace(_PLAIN, depth=3, activation="tanh", optimizer="sgd", rate=0.01),
        question=marked(
            "Each weight takes a step against its gradient: w ← w − η · ∂L/∂w. The learning rate η goes "
            "from 0.01 to 0.1. What happens, at this very moment, to the gradient of the first layer?"
        ),
        answers=(
            marked("It becomes ten times as large."),
            marked("It stays as it is; the step becomes ten times as large."),
            marked("It becomes ten times smaller."),
        ),
        right=1,
        then={"rate": 0.1},
        explanation=marked(
            "The gradient says how the loss changes with a weight; it knows nothing of η. Only the "
            "step, η times the gradient, grew tenfold: look at update/weight in the formulas. That is "
            "why no learning rate cures a gradient that is not there: 0.1 times nothing is nothing."
        ),
    ),
    Guided(
        name="depth",
        title=marked("Twice as deep"),
        start=replace(_PLAIN, depth=10),
        question=marked(
            "Ten sigmoid layers pass on a few millionths of the gradient. The depth is doubled. How "
            "much arrives at the first layer?"
        ),
        answers=(
            marked("Half of it: twice the layers, half the gradient."),
            marked("A millionth of that millionth: the factors multiply."),
            marked("About the same: training has not begun yet."),
        ),
        right=1,
        then={"depth": 20},
        explanation=marked(
            "Every layer multiplies the gradient by about 0.24. Ten more layers multiply by 0.24 ten "
            "more times: six more decades are gone. On a logarithmic axis that is a straight line; "
            "drag the depth and watch it grow. In the first layers the step is now smaller than what "
            "float32 can add to a weight."
        ),
        finding="depth-decay",
    ),
    Guided(
        name="quarter-and-one",
        title=marked("Why 1/4 and 1 matter"),
        start=_PLAIN,
        question=marked(
            "The slope of a sigmoid is at most 1/4, that of tanh at most 1. All twenty sigmoids become "
            "tanh, the weights stay the same. What happens to the gradient of the first layer?"
        ),
        answers=(
            marked("It is four times as large."),
            marked("Most of it arrives: the factor of each layer is now near one."),
            marked("It explodes: one to the power of twenty is too much."),
        ),
        right=1,
        then={"activation": "tanh"},
        explanation=marked(
            "The factor of a layer is slope times weights. With Xavier's weights the weights take "
            "nothing, so the slope decides: 0.24 each for sigmoids, close to one for tanh near zero. "
            "Not four times as much arrives but 4 to the power of 19. Close to one is not one: look at "
            "where the units stand on the curve."
        ),
        finding="depth-decay",
    ),
    Guided(
        name="initialisation",
        title=marked("Weights that are too small"),
        start=replace(_PLAIN, activation="relu", initialisation="small"),
        question=marked(
            "Twenty ReLUs, half of the units are off. With weights of size 0.3/√n a layer passes on "
            "0.3 · √½ = 0.21 of the gradient. He's rule says √2/√n. How much does a layer pass on then?"
        ),
        answers=(
            marked("All of it: √2 · √½ = 1."),
            marked("1.41 times as much as arrives: √2."),
            marked("Still 0.21: the slope of ReLU did not change."),
        ),
        right=0,
        then={"initialisation": "he"},
        explanation=marked(
            "He's factor √2 is there to make up for the half that ReLU switches off, on the way forward "
            "and on the way back. The line is level now. Note that Xavier's rule, made for tanh, loses "
            "0.15 decades a layer here: try it, and count with twenty layers."
        ),
        finding="init-too-small",
    ),
    Guided(
        name="explosion",
        title=marked("Slopes below one, and yet an explosion"),
        start=replace(_PLAIN, activation="tanh"),
        question=marked(
            "The slope of tanh lies between 0 and 1. The weights become about three times as large. "
            "What does the gradient do on its way down?"
        ),
        answers=(
            marked("It can only fall: every slope is at most one."),
            marked("It grows: the weights multiply by more than the slopes take."),
            marked("It stays: tanh saturates and keeps everything in bounds."),
        ),
        right=1,
        then={"initialisation": "large"},
        explanation=marked(
            "Many units do saturate: their slope is near zero, see the curve. But the weights multiply "
            "by three and the few units in the middle pass it on; together a layer gains. That slopes "
            "are at most one forbids an explosion only where the weights do not multiply."
        ),
        finding="chaotic-signal",
    ),
    Guided(
        name="batch-norm",
        title=marked("Batch norm fixes it?"),
        start=replace(_PLAIN, activation="relu", initialisation="he", depth=50),
        question=marked(
            "Batch norm brings every layer's signal back to scale one. Fifty ReLU layers without "
            "skips get one each. What does the gradient do?"
        ),
        answers=(
            marked("It is at scale one everywhere, too."),
            marked("It grows by the same factor at every layer."),
            marked("It vanishes: a norm divides."),
        ),
        right=1,
        then={"norm": "batch"},
        explanation=marked(
            "The norm fixes the signal, not the gradient: with ReLU behind it each layer multiplies it "
            "by √(π/(π − 1)) = 1.21, whatever the weights are (Yang et al. 2019). Fifty of them are "
            "four decades. Now choose the skip x + f(x): norm and skip together are what works."
        ),
        finding="depth-growth",
    ),
    Guided(
        name="skip",
        title=marked("A way around"),
        start=replace(_PLAIN, depth=50),
        question=marked(
            "Fifty sigmoids: nothing arrives. Each layer f(x) becomes x + f(x). What arrives at the "
            "first layer now?"
        ),
        answers=(
            marked("Nothing: f has the same slopes as before."),
            marked("Most of it: it goes along the x, whatever f does."),
            marked("Twice as much as before at each layer, so still nearly nothing."),
        ),
        right=1,
        then={"skip": "sum"},
        explanation=marked(
            "The derivative of x + f(x) is 1 + f′(x): the 1 passes on everything. The sigmoids are as "
            "flat as they were and the gradient simply goes around them. With ReLU and He's weights "
            "the same sum grows twofold in energy at each layer: try it, and then the gated skip."
        ),
        finding="depth-decay",
    ),
    Guided(
        name="flat-and-untrainable",
        title=marked("A level line is not enough"),
        start=replace(_PLAIN, activation="relu", initialisation="he", depth=20),
        question=marked(
            "ReLU with He's weights keeps the gradient level. The depth goes from 20 to 120. What "
            "happens?"
        ),
        answers=(
            marked("The gradient vanishes after all."),
            marked("Nothing: level is level, at any depth."),
            marked("The line stays level, but all samples come to look the same."),
        ),
        right=2,
        then={"depth": 120},
        explanation=marked(
            "At each layer the angles between samples shrink a little. After a hundred layers every "
            "input gives nearly the same direction: there is gradient, but it says the same for a "
            "three and for an eight. A check of norms alone calls this net healthy. Cure it, and see "
            "what the initialisation called ours does differently."
        ),
        finding="collapsed-signal",
    ),
    Guided(
        name="lstm-alone",
        title=marked("Use an LSTM?"),
        start=_POINTS,
        question=marked(
            "A point is shown at step 1, then come 59 silent steps; which circle was it? A plain RNN "
            "with tanh is replaced by an LSTM with its usual start. What arrives at step 1?"
        ),
        answers=(
            marked("More: LSTMs were invented for this."),
            marked("Less: each step halves it, since the gates start half open."),
            marked("The same: the gradient over time does not depend on the cell."),
        ),
        right=1,
        then={"cell": "lstm"},
        explanation=marked(
            "The forget gate starts at σ(0) = 1/2, so the cell passes on about half of the gradient at "
            "each step; 59 halvings are eighteen decades, of which the other paths save some. An LSTM "
            "can keep a memory; that it does from the start is a question of its forget bias."
        ),
        finding="time-decay",
    ),
    Guided(
        name="open-gates",
        title=marked("Open the gates"),
        start=replace(_POINTS, cell="lstm"),
        question=marked(
            "The same LSTM. Its forget gates are started almost open, for memories as long as the "
            "sequence (the initialisation called ours). What arrives at step 1?"
        ),
        answers=(
            marked("Nearly as much as at the last step."),
            marked("Nothing: 59 steps are too many for any gate."),
            marked("So much that it explodes."),
        ),
        right=0,
        then={"initialisation": "ours"},
        explanation=marked(
            "A gate at σ(b) with b about the logarithm of the length keeps a share of 1 − 1/T at each "
            "step, and (1 − 1/T) to the power of T is about 1/e, however long the sequence is. No cell "
            "was changed, only biases. Train it and compare."
        ),
        finding="time-decay",
    ),
    Guided(
        name="clipping",
        title=marked("What clipping does, and what it does not"),
        start=replace(_POINTS, initialisation="large"),
        question=marked(
            "An RNN with large weights: the gradient explodes towards the first steps. Clipping at 1 is "
            "switched on. What does the profile over time look like?"
        ),
        answers=(
            marked("Level: what was too large is cut."),
            marked("As before: the whole is made smaller, its parts keep their proportions."),
            marked("It vanishes now."),
        ),
        right=1,
        then={"clip": 1.0},
        explanation=marked(
            "Clipping multiplies the whole gradient by one number, so the direction stays: the first "
            "steps still outvote all others. It keeps a step from throwing the weights away, which is "
            "worth having; it does not cure the explosion. Train with and without it."
        ),
        finding="time-growth",
    ),
)
