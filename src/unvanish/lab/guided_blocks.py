"""Guided lessons on norms, skips, and on nets whose gradient is level and that still do not learn."""

from dataclasses import replace

from unvanish.lab.guided import PLAIN, Guided
from unvanish.languages import marked

BLOCKS: tuple[Guided, ...] = (
    Guided(
        name="batch-norm",
        title=marked("Batch norm fixes it?"),
        start=replace(PLAIN, activation="relu", initialisation="he", depth=50),
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
        start=replace(PLAIN, depth=50),
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
        start=replace(PLAIN, activation="relu", initialisation="he", depth=20),
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
)
