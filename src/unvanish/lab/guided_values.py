"""Guided pages on initial values: which rule for which activation, and how deep they carry."""

from dataclasses import replace

from unvanish.lab.guided import PLAIN, Guided
from unvanish.languages import marked
from unvanish.lessons.question import Question

VALUES: tuple[Guided, ...] = (
    Guided(
        name="xavier-and-he",
        title=marked("Xavier or He?"),
        start=replace(PLAIN, activation="relu"),
        question=Question(
            asks=marked(
                "Xavier's rule keeps the variance of a signal if the activation does. Here are twenty "
                "ReLUs with it. What does He's rule, larger by √2, change at the first layer?"
            ),
            choices=(
                marked("The gradient is √2 times as large."),
                marked("The gradient is nearly a thousand times as large: √2 for each layer."),
                marked("Nothing: both are rules for good weights."),
            ),
            right=1,
            because=marked(
                "ReLU drops half of the energy at each layer, which Xavier's rule knows nothing of: "
                "0.15 decades a layer, three in all. The rule belongs to the activation. For tanh "
                "it is the other way round: there He's weights are too large; try it."
            ),
        ),
        then={"initialisation": "he"},
        finding="init-too-small",
    ),
    Guided(
        name="critical",
        title=marked("Twenty sigmoids that pass the gradient on"),
        start=PLAIN,
        question=Question(
            asks=marked(
                "The slope of a sigmoid is at most 1/4, so twenty sigmoids must lose twelve decades. "
                "Only the numbers in the weights may be changed (the initialisation called ours). How "
                "much can arrive at the first layer?"
            ),
            choices=(
                marked("At most a quarter to the power of twenty, whatever the weights are."),
                marked("About half of the decades can be saved."),
                marked("Nearly all of it."),
            ),
            right=2,
            because=marked(
                "A layer's factor is slope times weights. Weights four times as large, around "
                "inputs so small that the sigmoid is straight there, make it one. That the slope is at "
                "most 1/4 is true; that the gradient must vanish for it is not."
            ),
        ),
        then={"initialisation": "ours"},
        finding="depth-decay",
    ),
    Guided(
        name="two-hundred",
        title=marked("Two hundred layers, and nothing around them"),
        start=replace(PLAIN, activation="relu", initialisation="he", depth=200),
        question=Question(
            asks=marked(
                "Two hundred ReLUs without norm and skip, He's weights: all samples have become one. "
                "Which change is enough to train them?"
            ),
            choices=(
                marked("Only a skip around each layer is."),
                marked("Other numbers in the same weights are."),
                marked("None: two hundred layers in a row cannot be trained."),
            ),
            right=1,
            because=marked(
                "The initialisation called ours sends each number through twice, as u and as −u: "
                "ReLU(u) − ReLU(−u) = u, so the net starts as one long rotation that keeps all "
                "angles. In the same way ten thousand layers were trained. The step must fall with "
                "the depth: set the learning rate to 0.1 over the depth before you train it."
            ),
        ),
        then={"initialisation": "ours", "rate": 0.0005},
        finding="ten-thousand",
    ),
)
