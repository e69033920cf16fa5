"""The classics on a whole model, by name: Xavier, He, LSUV, Fixup, orthogonal.

Each does what its paper says and no more, on every linear and convolutional layer that may be
changed; the report has the gate before and after, so that they can be told apart. When they harm:
Xavier starves ReLU (a factor 0.71 a layer), He lets samples collapse to one direction in plain
ReLU nets from about thirty layers on, LSUV makes deep tanh nets explode (1.085 a layer), Fixup is
for residual nets without norms only.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from unvanish.batches import Forward, Loss
from unvanish.errors import BadInput
from unvanish.init import normalisation, recurrence
from unvanish.init.critical import Call, Method
from unvanish.init.draws import gaussian, orthogonal
from unvanish.init.parts import Part
from unvanish.init.report import Change, InitReport
from unvanish.init.residual import longest, value_path
from unvanish.init.situation import Situation
from unvanish.init.stretches import gain_after
from unvanish.init.weights import Draw, Recipe, write

Names = Iterable[str] | str


def xavier_(
    model: nn.Module,
    data: Any,
    loss: Loss | None = None,
    forward: Forward | None = None,
    *,
    only: Names | None = None,
    leave: Names = (),
    seed: int = 0,
) -> InitReport:
    """Variance 2 / (fan-in + fan-out), biases zero (Glorot and Bengio 2010). For tanh and linear.

    Arguments and errors as for :func:`unvanish.init.critical_`.
    """
    return _by_name("xavier_", model, data, loss, forward, only, leave, seed)


def he_(
    model: nn.Module,
    data: Any,
    loss: Loss | None = None,
    forward: Forward | None = None,
    *,
    only: Names | None = None,
    leave: Names = (),
    seed: int = 0,
) -> InitReport:
    """Variance 1 / (fan-in E[f^2]) behind activation f: 2 / fan-in for ReLU (He et al. 2015).

    Arguments and errors as for :func:`unvanish.init.critical_`.
    """
    return _by_name("he_", model, data, loss, forward, only, leave, seed)


def orthogonal_(
    model: nn.Module,
    data: Any,
    loss: Loss | None = None,
    forward: Forward | None = None,
    *,
    only: Names | None = None,
    leave: Names = (),
    seed: int = 0,
) -> InitReport:
    """Orthogonal weights at the gain of the activation before (Saxe et al. 2014).

    Kernels are orthogonal over all their places; recurrent weights too.
    Arguments and errors as for :func:`unvanish.init.critical_`.
    """
    return _by_name("orthogonal_", model, data, loss, forward, only, leave, seed)


def lsuv_(
    model: nn.Module,
    data: Any,
    loss: Loss | None = None,
    forward: Forward | None = None,
    *,
    only: Names | None = None,
    leave: Names = (),
    seed: int = 0,
) -> InitReport:
    """Orthogonal, then every layer's output brought to scale one on the batch (Mishkin 2016).

    All in one forward pass. Arguments and errors as for :func:`unvanish.init.critical_`.
    """
    return _by_name("lsuv_", model, data, loss, forward, only, leave, seed)


def fixup_(
    model: nn.Module,
    data: Any,
    loss: Loss | None = None,
    forward: Forward | None = None,
    *,
    only: Names | None = None,
    leave: Names = (),
    seed: int = 0,
) -> InitReport:
    """Fixup without its extra biases and multipliers (Zhang et al. 2019, arXiv:1901.09321).

    Of the m weights on each of L residual branches the last is zero, the others are He's times
    L^(-1 / (2m - 2)); the last layer of the net is zero. A branch that ends in a norm has the
    norm's weight zero instead. Arguments and errors as for :func:`unvanish.init.critical_`;
    BadInput also for a model without residual branches.
    """
    return _by_name("fixup_", model, data, loss, forward, only, leave, seed)


@dataclass(frozen=True, slots=True)
class _Classic:
    """Every linear and convolutional layer by one rule."""

    name: str
    draw: Draw

    def apply(self, situation: Situation) -> None:
        seen: set[int] = set()
        for index, part in situation.parts.items():
            if id(part.weight) in seen or not situation.may_change(part):
                continue
            seen.add(id(part.weight))
            gain = self._gain(situation, index, part) * situation.gains.get(index, 1.0)
            recipe = Recipe(draw=self.draw, gain=gain, writes=None, reads=None, local=False)
            write(part, recipe, situation.generator)
            situation.changes.append(
                Change(
                    module=part.module,
                    method=self.name,
                    parameters=part.names,
                    numbers={"gain": gain},
                )
            )
            if self.name == "LSUV" and part.calls == 1:
                situation.aims[index] = (1.0, 0.0)

    def _gain(self, situation: Situation, index: int, part: Part) -> float:
        if self.name != "Xavier":
            return gain_after(situation, index)
        places = part.weight[0, 0].numel() if part.weight.dim() > 2 else 1
        fan_in = part.inputs // part.groups * places
        fan_out = part.outputs // part.groups * places
        return math.sqrt(2 * fan_in / (fan_in + fan_out))


def _fixup(situation: Situation) -> None:
    graph = situation.graph
    if not situation.branches:
        raise BadInput(
            "fixup_ is for residual nets and the model has no residual branch: use critical_."
        )
    count = longest(graph, frozenset(branch.sum for branch in situation.branches))
    for branch in situation.branches:
        path = value_path(graph, branch, dict(situation.parts))
        power = -1 / (2 * len(path) - 2) if len(path) > 1 else 0.0
        for index in path:
            situation.gains[index] = 0.0 if index == branch.last else count**power
        if branch.last not in situation.parts:
            situation.norm_gains[graph[branch.last].module] = 0.0
    heads = [index for index in situation.parts if situation.is_head(index)]
    situation.gains.update(dict.fromkeys(heads, 0.0))


_CLASSICS: dict[str, Sequence[Method]] = {
    "xavier_": (normalisation.apply, recurrence.apply, _Classic("Xavier", gaussian).apply),
    "he_": (normalisation.apply, recurrence.apply, _Classic("He", gaussian).apply),
    "orthogonal_": (
        normalisation.apply,
        recurrence.apply,
        _Classic("orthogonal", orthogonal).apply,
    ),
    "lsuv_": (normalisation.apply, recurrence.apply, _Classic("LSUV", orthogonal).apply),
    "fixup_": (_fixup, normalisation.apply, _Classic("Fixup", gaussian).apply),
}


def _by_name(
    name: str,
    model: nn.Module,
    data: Any,
    loss: Loss | None,
    forward: Forward | None,
    only: Names | None,
    leave: Names,
    seed: int,
) -> InitReport:
    call = Call(model, data, loss, forward, only, leave, seed)
    return call.run(name, _CLASSICS[name], calibrated=name == "lsuv_")
