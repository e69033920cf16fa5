"""Guided lessons on norms, skips, and on nets whose gradient is level and that still do not learn."""

from dataclasses import replace

from unvanish.lab.guided import PLAIN, Guided
from unvanish.languages import marked
from unvanish.lessons.question import Question

BLOCKS: tuple[Guided, ...] = (
    Guided(
        name="batch-norm",
        title=marked("Batch norm fixes it?"),
        start=replace(PLAIN, activation="relu", initialisation="he", depth=50),
        question=Question(
            asks=marked(
                "Batch norm brings every layer's signal back to scale one. Fifty ReLU layers without "
                "skips get one each. What does the gradient do?"
            ),
            choices=(
                marked("It is at scale one everywhere, too."),
                marked("It grows by the same factor at every layer."),
                marked("It vanishes: a norm divides."),
            ),
            right=1,
            because=marked(
                "The norm fixes the signal, not the gradient: with ReLU behind it each layer multiplies it "
                "by √(π/(π − 1)) = 1.21, whatever the weights are (Yang et al. 2019). Fifty of them are "
                "four decades. Now choose the skip x + f(x): norm and skip together are what works."
            ),
        ),
        then={"norm": "batch"},
        finding="depth-growth",
    ),
    Guided(
        name="skip",
        title=marked("A way around"),
        start=replace(PLAIN, depth=50),
        question=Question(
            asks=marked(
                "Fifty sigmoids: nothing arrives. Each layer f(x) becomes x + f(x). What arrives at the "
                "first layer now?"
            ),
            choices=(
                marked("Nothing: f has the same slopes as before."),
                marked("Most of it: it goes along the x, whatever f does."),
                marked("Twice as much as before at each layer, so still nearly nothing."),
            ),
            right=1,
            because=marked(
                "The derivative of x + f(x) is 1 + f′(x): the 1 passes on everything. The sigmoids are as "
                "flat as they were and the gradient simply goes around them. With ReLU and He's weights "
                "the same sum grows twofold in energy at each layer: try it, and then the gated skip."
            ),
        ),
        then={"skip": "sum"},
        finding="depth-decay",
    ),
    Guided(
        name="flat-and-untrainable",
        title=marked("A level line is not enough"),
        start=replace(PLAIN, activation="relu", initialisation="he", depth=20),
        question=Question(
            asks=marked(
                "ReLU with He's weights keeps the gradient level. The depth goes from 20 to 120. What "
                "happens?"
            ),
            choices=(
                marked("The gradient vanishes after all."),
                marked("Nothing: level is level, at any depth."),
                marked("The line stays level, but all samples come to look the same."),
            ),
            right=2,
            because=marked(
                "At each layer the angles between samples shrink a little. After a hundred layers every "
                "input gives nearly the same direction: there is gradient, but it says the same for a "
                "three and for an eight. A check of norms alone calls this net healthy. Cure it, and see "
                "what the initialisation called ours does differently."
            ),
        ),
        then={"depth": 120},
        finding="collapsed-signal",
    ),
    Guided(
        name="norm-and-skip",
        title=marked("Norm and skip together"),
        start=replace(PLAIN, activation="relu", initialisation="he", depth=50, norm="batch"),
        question=Question(
            asks=marked(
                "Fifty layers with batch norm: the gradient grows by four decades. Each layer becomes "
                "x + f(x), the norm stays inside f. What does the gradient do now?"
            ),
            choices=(
                marked("It grows twice as fast: there are two ways through each layer."),
                marked("It grows by the root of the depth or so, no longer exponentially."),
                marked("It vanishes along the skips."),
            ),
            right=1,
            because=marked(
                "The norm makes every branch as large as the first one, while what it is added to grows. "
                "So the later a block, the smaller its share: the factors 1 + 1/k multiply to about "
                "the depth's root and not to a power of it. Neither part does that alone."
            ),
        ),
        then={"skip": "sum"},
        finding="batch-norm",
    ),
    Guided(
        name="gated",
        title=marked("A block that knows how many there are"),
        start=replace(PLAIN, activation="relu", initialisation="he", depth=100, skip="sum"),
        question=Question(
            asks=marked(
                "A hundred blocks x + f(x) with ReLU and He's weights, no norm: every sum doubles the "
                "energy. Each becomes x + a · f(x), where a starts at 1/√100 and is learned (the gated "
                "skip). By how much does the gradient grow from the last block to the first?"
            ),
            choices=(
                marked("By a factor of ten or so at most."),
                marked("By 20 decades, as before."),
                marked("Not at all: a gate is closed at first."),
            ),
            right=0,
            because=marked(
                "With a² = 1/100 each block adds a hundredth of the energy, and (1 + 1/100) to the power "
                "of 100 is about e, however deep the net is. The block holds the signal's scale by "
                "itself, and the gradient's with it. Large outputs may still ask for a smaller step: "
                "read the verdict."
            ),
        ),
        then={"skip": "gated"},
        finding="self-regulating",
    ),
)
