"""Where every slider of the lab stands, and how that is written into a link and read from one."""

import functools
import importlib.util
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final

from unvanish.languages import filled, marked
from unvanish.languages import gettext as _

CELLS: Final = ("none", "rnn", "lstm", "gru")
ACTIVATIONS: Final = (
    "sigmoid", "tanh", "relu", "leaky_relu", "gelu", "silu", "selu", "prelu", "ours",
)  # fmt: skip
CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "cell": CELLS,
    "activation": ACTIVATIONS,
    "initialisation": ("small", "xavier", "he", "orthogonal", "ours", "large"),
    "norm": ("none", "batch", "layer"),
    "skip": ("none", "sum", "gated"),
    "optimizer": ("sgd", "momentum", "adam"),
    "data": ("digits", "circles", "spirals", "adding"),
}
"""What can be chosen by name."""
RANGES: Final[Mapping[str, tuple[float, float]]] = {
    "depth": (1, 200),
    "width": (4, 128),
    "steps": (2, 200),
    "rate": (1e-5, 10.0),
    "clip": (0.0, 100.0),
    "seed": (0, 9999),
}
"""Least and most of what is a number; ``clip`` 0 means none."""
WHOLE: Final = ("depth", "width", "steps", "seed")
MOST_WORK: Final = 2.0e6
"""Weights that a net may have: what a small machine looks through in a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One state of the lab. The first one is a net whose gradient vanishes.

    ``depth`` counts hidden layers of a net without a cell; ``steps`` is how long the sequences are
    of a net with one, and of the adding task. ``rate`` is the learning rate, ``clip`` the largest
    norm that the whole gradient may have (0: no limit).
    """

    cell: str = "none"
    depth: int = 16
    width: int = 24
    steps: int = 40
    activation: str = "sigmoid"
    initialisation: str = "xavier"
    norm: str = "none"
    skip: str = "none"
    optimizer: str = "momentum"
    rate: float = 0.03
    clip: float = 0.0
    data: str = "digits"
    seed: int = 0

    @property
    def recurrent(self) -> bool:
        """Whether the net goes through time."""
        return self.cell != "none"

    def as_query(self) -> dict[str, Any]:
        """What a link holds: everything, so that a later default does not change its meaning."""
        return asdict(self)


def available() -> dict[str, tuple[str, ...]]:
    """What can be chosen here: digits need scikit-learn, which ships them."""
    data = tuple(name for name in CHOICES["data"] if name != "digits" or has_digits())
    return {**CHOICES, "data": data}


@functools.cache
def has_digits() -> bool:
    """Whether scikit-learn is there."""
    return importlib.util.find_spec("sklearn") is not None


def first_settings() -> Settings:
    """What the lab opens with."""
    return Settings(data="digits" if has_digits() else "circles")


def read(given: Mapping[str, str]) -> tuple[Settings, tuple[str, ...]]:
    """The settings of a link, and a sentence for everything in it that could not be used.

    Nothing in a link is trusted: what is unknown, out of range or no number is replaced by what the
    lab opens with. Keys that are not ours are passed over.

    >>> settings, said = read({"depth": "50", "activation": "<script>"})
    >>> settings.depth, settings.activation, len(said)
    (50, 'sigmoid', 1)
    """
    start = first_settings().as_query()
    choices = available()
    said: list[str] = []
    found: dict[str, Any] = {}
    for field in fields(Settings):
        text = given.get(field.name)
        value = start[field.name]
        if text is not None:
            known = _chosen(text, choices[field.name]) if field.name in choices else None
            known = _number(field.name, text) if field.name in RANGES else known
            if known is None:
                said.append(_refused(field.name, text, value))
            else:
                value = known
        found[field.name] = value
    settings = Settings(**found)
    lighter = bounded(settings)
    if lighter != settings:
        said.append(_too_large(settings, lighter))
    return lighter, tuple(said)


def bounded(settings: Settings) -> Settings:
    """The same with as many units as keep the net within ``MOST_WORK`` weights."""
    if settings.recurrent or settings.depth * settings.width**2 <= MOST_WORK:
        return settings
    return replace(settings, width=int(math.sqrt(MOST_WORK / settings.depth)))


NAMES: Final[Mapping[str, str]] = {
    "cell": marked("Recurrence"),
    "depth": marked("Depth"),
    "width": marked("Width"),
    "steps": marked("Time steps"),
    "activation": marked("Activation"),
    "initialisation": marked("Initialisation"),
    "norm": marked("Norm"),
    "skip": marked("Skip"),
    "optimizer": marked("Optimizer"),
    "rate": marked("Learning rate"),
    "clip": marked("Clipping"),
    "data": marked("Data"),
    "seed": marked("Seed"),
}
"""What each is called on the page."""


def _chosen(text: str, choices: tuple[str, ...]) -> str | None:
    return text if text in choices else None


def _number(name: str, text: str) -> float | None:
    if len(text) > 24 or not text.isascii():
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    low, high = RANGES[name]
    if not low <= value <= high or (name in WHOLE and value % 1):
        return None
    return int(value) if name in WHOLE else value


def _refused(name: str, text: str, used: Any) -> str:
    shown = repr(text if len(text) <= 30 else text[:27] + "...")
    values = {"name": _(NAMES[name]), "value": shown, "used": used}
    if name not in RANGES:
        said = _("{name}: the link says {value}, which is no choice here; {used} is used.")
        return filled(said, values)
    low, high = RANGES[name]
    said = _(
        "{name}: the link says {value}, which is no number from {low} to {high}; {used} is used."
    )
    return filled(said, {**values, "low": low, "high": high})


def _too_large(asked: Settings, used: Settings) -> str:
    said = _(
        "A net of {depth} layers may have {width} units a layer here; {asked} would take too long."
    )
    return filled(said, depth=used.depth, width=used.width, asked=asked.width)
