"""Programs whose fault has a strength drawn from harmless to fatal: training decides the label.

One that gains less than two thirds of what its twin gains is broken, one that gains at least nine
tenths is healthy, whatever it looks like; what lies between is left out (``corpus_check.py``).
"""

from collections.abc import Callable

import torch
from torch import nn

from corpus import data
from corpus.case import Case, Drawn
from corpus.nets import Sequences, adam, cross_entropy, he, mlp, sgd, squares, weighted
from corpus.signal_start import draw

DRAWS = 5


def start(number: int) -> Callable[[int, bool], Drawn]:
    """The weights of all layers times a factor of 0.1 to 8."""

    def build(seed: int, broken: bool) -> Drawn:
        rng = draw(seed, f"start {number}")
        act = rng.choice((nn.ReLU, nn.Tanh, nn.GELU))
        model = he(mlp(16, rng.choice((24, 40)), rng.randint(4, 14), 5, act), 1.0, 1.7)
        factor = 10 ** rng.uniform(-1, 0.9)
        if broken:
            with torch.no_grad():
                for _, layer in weighted(model):
                    layer.weight.mul_(factor)
        pair = data.clusters(seed, 16, 5, samples=300, apart=0.6)
        return Drawn(cross_entropy(model, pair, optimizer=adam(model, 1e-3)))

    return build


def rate(number: int) -> Callable[[int, bool], Drawn]:
    """A step size of a millionth to a thousand times the right one."""

    def build(seed: int, broken: bool) -> Drawn:
        rng = draw(seed, f"rate {number}")
        model = he(mlp(16, rng.choice((24, 48)), rng.randint(2, 4), 4))
        make, right = rng.choice(((sgd, 0.1), (adam, 3e-3)))
        factor = 10 ** rng.uniform(-6, 3) if broken else 1.0
        pair = data.clusters(seed, 16, 4, samples=200, apart=0.6)
        return Drawn(cross_entropy(model, pair, optimizer=make(model, right * factor)))

    return build


def sigmoids(number: int) -> Callable[[int, bool], Drawn]:
    """One to twelve sigmoid layers."""

    def build(seed: int, broken: bool) -> Drawn:
        rng = draw(seed, f"sigmoids {number}")
        depth = rng.randint(1, 12)
        model = mlp(16, rng.choice((24, 32)), depth, 4, nn.Sigmoid if broken else nn.ReLU)
        if not broken:
            he(model)
        pair = data.clusters(seed, 16, 4, samples=200, apart=0.8)
        return Drawn(cross_entropy(model, pair, optimizer=adam(model, 1e-2)))

    return build


def remembered(number: int) -> Callable[[int, bool], Drawn]:
    """What matters lies 3 to 80 steps back."""

    def build(seed: int, broken: bool) -> Drawn:
        rng = draw(seed, f"remembered {number}")
        kind, length = rng.choice((nn.RNN, nn.GRU, nn.LSTM)), int(3 * 27 ** rng.random())
        model = Sequences(kind, 6, 20, 4)
        inputs, labels = data.first_matters(seed, length if broken else 3, samples=256)
        batches = list(zip(inputs.split(64), labels.split(64), strict=True))
        return Drawn(cross_entropy(model, batches, optimizer=adam(model, 5e-3)), ("memory",))

    return build


def pushed(number: int) -> Callable[[int, bool], Drawn]:
    """The bias of one narrow relu layer lowered by 0 to 12."""

    def build(seed: int, broken: bool) -> Drawn:
        rng = draw(seed, f"pushed {number}")
        model = he(mlp(16, rng.choice((8, 16)), 3, 4))
        if broken:
            with torch.no_grad():
                model[2].bias.sub_(rng.uniform(0, 12))
        pair = data.clusters(seed, 16, 4, samples=200, apart=0.8)
        return Drawn(cross_entropy(model, pair, optimizer=adam(model, 3e-3)), ("3", "2"))

    return build


def unit_of_inputs(number: int) -> Callable[[int, bool], Drawn]:
    """Inputs in other units: times 0.01 to 10,000."""

    def build(seed: int, broken: bool) -> Drawn:
        rng = draw(seed, f"inputs {number}")
        inputs, targets = data.table(seed, samples=256)
        model = mlp(8, 32, 2, 1, rng.choice((nn.Tanh, nn.ReLU)))
        factor = 10 ** rng.uniform(-2, 4)
        inputs = inputs * factor if broken else inputs
        return Drawn(squares(model, (inputs, targets), optimizer=adam(model, 3e-3)))

    return build


def decay(number: int) -> Callable[[int, bool], Drawn]:
    """Weight decay of 1e-5 to 3 under SGD."""

    def build(seed: int, broken: bool) -> Drawn:
        rng = draw(seed, f"decay {number}")
        model = he(mlp(16, rng.choice((24, 48)), 2, 4))
        value = 10 ** rng.uniform(-5, 0.5)
        optimizer = sgd(model, 0.1, weight_decay=value if broken else 0.0)
        pair = data.clusters(seed, 16, 4, samples=200, apart=0.8)
        return Drawn(cross_entropy(model, pair, optimizer=optimizer))

    return build


KINDS: tuple[tuple[str, Callable[[int], Callable[[int, bool], Drawn]], tuple[str, ...]], ...] = (
    (
        "initial scale",
        start,
        (
            "init-too-small",
            "init-too-large",
            "depth-decay",
            "depth-growth",
            "collapsed-signal",
            "chaotic-signal",
            "saturated-activation",
            "step-too-large",
        ),
    ),
    ("step size", rate, ("step-too-large", "step-too-small")),
    ("sigmoid layers", sigmoids, ("depth-decay", "collapsed-signal", "init-too-small")),
    ("memory", remembered, ("time-decay",)),
    ("pushed bias", pushed, ("dead-units",)),
    (
        "unit of the inputs",
        unit_of_inputs,
        (
            "unscaled-input",
            "saturated-activation",
            "step-too-large",
            "step-too-small",
            "init-too-large",
            "init-too-small",
        ),
    ),
    ("weight decay", decay, ("weight-decay-dominates", "step-too-large")),
)
CASES = tuple(
    Case(f"graded {name} {k}", "graded", make(k), causes[0], causes[1:], 20, graded=True)
    for name, make, causes in KINDS
    for k in range(DRAWS)
)
