"""Guided pages on the flat range, rectifiers and their kin, activations tailored to the depth."""

from dataclasses import replace

from unvanish.lab.guided import PLAIN, Guided
from unvanish.languages import marked
from unvanish.lessons.question import Question

RECTIFIED = replace(PLAIN, activation="relu", initialisation="he")

ACTIVATIONS: tuple[Guided, ...] = (
    Guided(
        name="saturation",
        title=marked("Out on the flat ends"),
        start=replace(PLAIN, depth=3, activation="tanh"),
        question=Question(
            asks=marked(
                "Three tanh layers, whose units stand where the curve is steep. The weights become "
                "about three times as large. Where do the units stand then?"
            ),
            choices=(
                marked("Where they stood: tanh keeps everything between -1 and 1."),
                marked("Most of them at the two flat ends, where the slope is near zero."),
                marked("All of them in the middle, where the slope is one."),
            ),
            right=1,
            because=marked(
                "Look at the curve: the inputs of the units spread out, and from about 3 on tanh "
                "hardly reacts. Its mean slope is halved. In a shallow net the large weights make up "
                "for that in the gradient's size, but units that answer -1 or 1 whatever they see "
                "tell samples apart only by jumps."
            ),
        ),
        then={"initialisation": "large"},
        finding="saturated-activation",
    ),
    Guided(
        name="leaky",
        title=marked("Does leaky ReLU help against depth?"),
        start=replace(RECTIFIED, initialisation="xavier", depth=30),
        question=Question(
            asks=marked(
                "Thirty ReLUs with Xavier's weights lose nearly five decades. LeakyReLU lets a tenth "
                "through where ReLU lets nothing through. What does the gradient do with it?"
            ),
            choices=(
                marked("It arrives: no unit is off any more."),
                marked("It is lost as before: a tenth, squared, is a hundredth."),
                marked("It is lost twice as fast."),
            ),
            right=1,
            because=marked(
                "What counts for the size is the mean square of the slope: 1/2 for ReLU, 1/2 · (1 + "
                "0.01) for the leaky one. Its leak is there for units that are off for every sample, "
                "so that they can come back; the depth is a matter of the weights. Try He's "
                "initialisation."
            ),
        ),
        then={"activation": "leaky_relu"},
        finding="leaky-kin",
    ),
    Guided(
        name="silu",
        title=marked("He's rule under another activation"),
        start=RECTIFIED,
        question=Question(
            asks=marked(
                "Twenty ReLUs with He's weights keep the gradient level. All of them become SiLUs, "
                "smooth and praised; the weights stay. What happens?"
            ),
            choices=(
                marked("Nothing: SiLU is ReLU with a rounded corner."),
                marked("About a tenth of a decade is lost at each layer."),
                marked("The gradient explodes, since SiLU is never off."),
            ),
            right=1,
            because=marked(
                "He's √2 makes up for exactly what ReLU takes. SiLU takes more: small inputs meet "
                "its slope of 1/2 around zero, so the signal shrinks, which brings it closer to "
                "zero. GELU loses about half as much. Every activation wants a rule of its own: choose "
                "the initialisation called ours."
            ),
        ),
        then={"activation": "silu"},
        finding="adaptive",
    ),
    Guided(
        name="tailored",
        title=marked("An activation made for this depth"),
        start=replace(RECTIFIED, initialisation="orthogonal", depth=100),
        question=Question(
            asks=marked(
                "A hundred ReLUs with orthogonal weights: the line is nearly level, and all samples look "
                "alike at the end. ReLU is exchanged for a leaky ReLU whose slope is solved from "
                "the depth (the activation called ours). What changes?"
            ),
            choices=(
                marked(
                    "The samples stay apart, since each layer bends as little as a hundred allow."
                ),
                marked("Nothing: a leaky ReLU is a ReLU."),
                marked("The net becomes linear and learns no more than one layer does."),
            ),
            right=0,
            because=marked(
                "What a layer bends adds up over the depth. The slope on the left is chosen so that "
                "a hundred layers together bend as much as a few ReLUs do, and a factor keeps the size. "
                "It is solved once and not learned: learning it brought nothing where we measured it."
            ),
        ),
        then={"activation": "ours"},
        finding="adaptive",
    ),
)
