"""What makes a good program ill: depth, activation, initialisation, and faults of other kinds.

The first three are the recipe by which AUTOTRAINER's corpus was made (Zhang et al. 2021): one to
three of adding 3 to 12 layers, changing activations and changing initialisers; own code. The
others are faults that people write: wiring, step size, gates, inputs in their own units.
"""

import random
from collections.abc import Callable
from dataclasses import replace

from repair.bases import FAMILIES, base
from repair.design import Design
from repair.programs import Program

CANDIDATES = 1200
"""Programs of the corpus; training decides which of them are sick."""
ACTIVATIONS = (
    "softmax elu selu softplus softsign relu tanh sigmoid hardsigmoid exponential linear"
).split()
INITS = (
    "zeros ones constant normal uniform|truncated|lecun uniform|glorot|he normal|unit uniform"
    "|unit normal|positive|torch|times 0.1|times 10"
)
METHODS = [*"zeros ones constant normal uniform".split(), *INITS.split("|")[1:]]


def some(draw: random.Random, count: int) -> range:
    """All levels, a stretch of them, or one."""
    kind = draw.random()
    if kind < 0.6:
        return range(count)
    first = draw.randrange(count)
    return range(first, count) if kind < 0.8 else range(first, first + 1)


def deeper(d: Design, draw: random.Random) -> Design:
    """3 to 12 layers more, like those that are there; stacked memories and blocks fewer."""
    most = {"mlp": 12, "cnn": 8, "transformer": 4}.get(d.family, 3)
    more = draw.randint(min(3, most - 1), most)
    if d.family == "transformer":
        order = draw.choice(("post", "none", d.order))
        d = replace(d, order=order)
    return replace(
        d,
        activations=d.activations[:1] * more + d.activations,
        inits=d.inits[:1] * more + d.inits,
    )


def activated(d: Design, draw: random.Random) -> Design:
    kinds = ["tanh", "relu"] if d.family in ("rnn", "lstm", "gru") else ACTIVATIONS
    kind = draw.choice([k for k in kinds if k != d.activations[0]])
    changed = list(d.activations)
    for level in some(draw, len(changed)):
        changed[level] = kind
    return replace(d, activations=tuple(changed))


def started(d: Design, draw: random.Random) -> Design:
    method = draw.choice([m for m in METHODS if m != d.inits[0]])
    changed = list(d.inits)
    for level in some(draw, len(changed)):
        changed[level] = method
    return replace(d, inits=tuple(changed))


def forgetful(d: Design, draw: random.Random) -> Design:
    """Time: a longer task of the same kind is not possible; the gates shut, or the memory decays."""
    kind = (
        draw.choice(("shut", "decay", "grow"))
        if d.family == "lstm"
        else draw.choice(("decay", "grow"))
    )
    if kind == "shut":
        return replace(d, shut=True)
    method = draw.choice(
        ("times 0.1", "normal", "uniform") if kind == "decay" else ("times 10", "unit normal")
    )
    return replace(d, inits=(method,) * len(d.inits))


def miswired(d: Design, draw: random.Random) -> Design:
    count = len(d.activations)
    kinds = ["detached", "forgotten", "frozen", "twice", "linear", "dead"]
    if d.family in ("rnn", "lstm", "gru"):
        kinds = ["forgotten", "frozen"]
    kind = draw.choice(kinds)
    if kind == "detached":
        return replace(d, detached=draw.randrange(count))
    if kind in ("forgotten", "frozen"):
        hidden = (0, 1) if count < 3 or d.family in ("rnn", "lstm", "gru") else (0, count)
        return replace(d, **{kind: hidden})
    if kind == "twice":
        return replace(d, twice=True) if d.task != "curve" else replace(d, detached=count - 1)
    if kind == "linear":
        return replace(d, activations=("linear",) * count)
    return replace(d, activations=("relu",) * count, bias=-draw.uniform(2, 8))


def stepped(d: Design, draw: random.Random) -> Design:
    return replace(d, rate=d.rate * 10 ** draw.choice((-4, -3, -2.5, 1.5, 2, 3)))


def unscaled(d: Design, draw: random.Random) -> Design:
    return replace(d, raw=True)


Mutation = Callable[[Design, random.Random], Design]
MUTATIONS: dict[str, Mutation] = {
    "depth": deeper,
    "activation": activated,
    "init": started,
    "time": forgetful,
    "wiring": miswired,
    "step size": stepped,
    "inputs": unscaled,
}


def kinds_of(family: str, draw: random.Random) -> tuple[str, ...]:
    """AUTOTRAINER's recipe for three programs of five; recurrent ones often lose their memory."""
    if family in ("rnn", "lstm", "gru") and draw.random() < 0.4:
        return ("time",) if draw.random() < 0.6 else ("depth", "time")
    lot = draw.random()
    if lot < 0.2:
        return ("wiring",)
    if lot < 0.32:
        return ("step size",)
    if lot < 0.4 and family in ("mlp", "cnn"):
        return ("inputs",)
    chosen = draw.sample(("depth", "activation", "init"), draw.choice((1, 2, 2, 3)))
    return tuple(kind for kind in ("depth", "activation", "init") if kind in chosen)


def candidate(index: int) -> Program:
    """The program of this index: always the same one."""
    draw = random.Random(7_000_003 + index)
    family = FAMILIES[index % len(FAMILIES)]
    good = base(draw, family)
    kinds = kinds_of(family, draw)
    ill = good
    for kind in kinds:
        ill = MUTATIONS[kind](ill, draw)
    return Program(f"{index:04d} {family} {'+'.join(kinds)}", kinds, ill, good)
