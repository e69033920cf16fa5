"""Break it: changes that are known to harm, one after the other, to be found and cured by hand."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from unvanish.lab.settings import Settings, bounded
from unvanish.languages import marked


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakage:
    """One way to break a net, and what was done to it in one sentence."""

    name: str
    change: Mapping[str, Any]
    said: str

    def made(self, settings: Settings) -> Settings:
        """The broken settings; what the net is for and how wide it is stay."""
        return bounded(replace(settings, **self.change))


_DEPTH = {"cell": "none", "norm": "none", "skip": "none", "clip": 0.0, "depth": 30}
_TIME = {"steps": 100, "clip": 0.0}

BREAKAGES: tuple[Breakage, ...] = (
    Breakage(
        name="sigmoids",
        change={**_DEPTH, "activation": "sigmoid", "initialisation": "xavier"},
        said=marked("Thirty sigmoids, whose slope is at most a quarter, with nothing around them."),
    ),
    Breakage(
        name="small-weights",
        change={**_DEPTH, "activation": "relu", "initialisation": "small"},
        said=marked("The weights start far too small for ReLU: each layer passes on a fifth."),
    ),
    Breakage(
        name="large-weights",
        change={**_DEPTH, "activation": "relu", "initialisation": "large"},
        said=marked("The weights start far too large: each layer doubles the gradient."),
    ),
    Breakage(
        name="norm-without-skip",
        change={
            **_DEPTH,
            "activation": "relu",
            "initialisation": "he",
            "norm": "batch",
            "depth": 60,
        },
        said=marked("Sixty layers with batch norm and no skip: the norm itself makes it explode."),
    ),
    Breakage(
        name="collapse",
        change={**_DEPTH, "activation": "relu", "initialisation": "he", "depth": 120},
        said=marked(
            "So deep that all samples look the same at the end, though the gradient arrives."
        ),
    ),
    Breakage(
        name="closed-gates",
        change={**_TIME, "cell": "lstm", "initialisation": "xavier"},
        said=marked("A hundred steps, and forget gates that start half open."),
    ),
    Breakage(
        name="time-explosion",
        change={**_TIME, "cell": "rnn", "activation": "relu", "initialisation": "large"},
        said=marked("Recurrent weights three times too large, a hundred times in a row."),
    ),
)
"""For nets without a cell and with one; :func:`broken` takes those of the same kind."""


def broken(settings: Settings, before: str = "") -> tuple[Settings, Breakage]:
    """The next way to break this net, after the one named ``before``, around and around.

    >>> from unvanish.lab.settings import Settings
    >>> broken(Settings(activation="relu"))[1].name, broken(Settings(), "sigmoids")[1].name
    ('sigmoids', 'small-weights')
    """
    kinds = [b for b in BREAKAGES if (b.change.get("cell") != "none") == settings.recurrent]
    names = [b.name for b in kinds]
    at = names.index(before) + 1 if before in names else 0
    for shift in range(len(kinds)):
        chosen = kinds[(at + shift) % len(kinds)]
        if chosen.made(settings) != settings:
            return chosen.made(settings), chosen
    return settings, kinds[at % len(kinds)]
