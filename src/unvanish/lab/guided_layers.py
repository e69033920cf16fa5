"""Guided lessons on depth, slopes and initial values."""

from dataclasses import replace

from unvanish.lab.guided import PLAIN, Guided
from unvanish.languages import marked
from unvanish.lessons.question import Question

LAYERS: tuple[Guided, ...] = (
    Guided(
        name="update-rule",
        title=marked("The update rule"),
        start=replace(PLAIN, depth=3, activation="tanh", optimizer="sgd", rate=0.01),
        question=Question(
            asks=marked(
                "Each weight takes a step against its gradient: w ← w − η · ∂L/∂w. The learning rate η goes "
                "from 0.01 to 0.1. What happens, at this very moment, to the gradient of the first layer?"
            ),
            choices=(
                marked("It becomes ten times as large."),
                marked("It stays as it is; the step becomes ten times as large."),
                marked("It becomes ten times smaller."),
            ),
            right=1,
            because=marked(
                "The gradient says how the loss changes with a weight; it knows nothing of η. Only the "
                "step, η times the gradient, grew tenfold: look at update/weight in the formulas. That is "
                "why no learning rate cures a gradient that is not there: 0.1 times nothing is nothing."
            ),
        ),
        then={"rate": 0.1},
    ),
    Guided(
        name="depth",
        title=marked("Twice as deep"),
        start=replace(PLAIN, depth=10),
        question=Question(
            asks=marked(
                "Ten sigmoid layers pass on a few millionths of the gradient. The depth is doubled. How "
                "much arrives at the first layer?"
            ),
            choices=(
                marked("Half of it: twice the layers, half the gradient."),
                marked("A millionth of that millionth: the factors multiply."),
                marked("About the same: training has not begun yet."),
            ),
            right=1,
            because=marked(
                "Every layer multiplies the gradient by about 0.24. Ten more layers multiply by 0.24 ten "
                "more times: six more decades are gone. On a logarithmic axis that is a straight line; "
                "drag the depth and watch it grow. In the first layers the step is now smaller than what "
                "float32 can add to a weight."
            ),
        ),
        then={"depth": 20},
        finding="depth-decay",
    ),
    Guided(
        name="quarter-and-one",
        title=marked("Why 1/4 and 1 matter"),
        start=PLAIN,
        question=Question(
            asks=marked(
                "The slope of a sigmoid is at most 1/4, that of tanh at most 1. All twenty sigmoids become "
                "tanh, the weights stay the same. What happens to the gradient of the first layer?"
            ),
            choices=(
                marked("It is four times as large."),
                marked("Most of it arrives: the factor of each layer is now near one."),
                marked("It explodes: one to the power of twenty is too much."),
            ),
            right=1,
            because=marked(
                "The factor of a layer is slope times weights. With Xavier's weights the weights take "
                "nothing, so the slope decides: 0.24 each for sigmoids, close to one for tanh near zero. "
                "Not four times as much arrives but 4 to the power of 19. Close to one is not one: look at "
                "where the units stand on the curve."
            ),
        ),
        then={"activation": "tanh"},
        finding="depth-decay",
    ),
    Guided(
        name="initialisation",
        title=marked("Weights that are too small"),
        start=replace(PLAIN, activation="relu", initialisation="small"),
        question=Question(
            asks=marked(
                "Twenty ReLUs, half of the units are off. With weights of size 0.3/√n a layer passes on "
                "0.3 · √½ = 0.21 of the gradient. He's rule says √2/√n. How much does a layer pass on then?"
            ),
            choices=(
                marked("All of it: √2 · √½ = 1."),
                marked("1.41 times as much as arrives: √2."),
                marked("Still 0.21: the slope of ReLU did not change."),
            ),
            right=0,
            because=marked(
                "He's factor √2 is there to make up for the half that ReLU switches off, on the way forward "
                "and on the way back. The line is level now. Note that Xavier's rule, made for tanh, loses "
                "0.15 decades a layer here: try it, and count with twenty layers."
            ),
        ),
        then={"initialisation": "he"},
        finding="init-too-small",
    ),
    Guided(
        name="explosion",
        title=marked("Slopes below one, and yet an explosion"),
        start=replace(PLAIN, activation="tanh"),
        question=Question(
            asks=marked(
                "The slope of tanh lies between 0 and 1. The weights become about three times as large. "
                "What does the gradient do on its way down?"
            ),
            choices=(
                marked("It can only fall: every slope is at most one."),
                marked("It grows: the weights multiply by more than the slopes take."),
                marked("It stays: tanh saturates and keeps everything in bounds."),
            ),
            right=1,
            because=marked(
                "Many units do saturate: their slope is near zero, see the curve. But the weights multiply "
                "by three and the few units in the middle pass it on; together a layer gains. That slopes "
                "are at most one forbids an explosion only where the weights do not multiply."
            ),
        ),
        then={"initialisation": "large"},
        finding="chaotic-signal",
    ),
)
