"""Linear and convolutional layers, stretch by stretch: mirrored, shaped, or plainly orthogonal.

* Between two layers of a plain stretch the signal is passed on almost linearly, each activation
  unbent as :mod:`unvanish.init.shaping` says; kernels are delta-orthogonal, so that the whole
  stretch is an isometry at the start. Only that trains at any depth. Where a linear layer reads
  the map as a whole in the end, some of their outputs read from beside (:mod:`unvanish.init.taps`).
* An activation that is chaotic at scale one (the sine of thirty times its input) is unbent so on
  residual branches and in shallow nets, too.
* Else, on residual branches, in shallow nets and around what a shape cannot pass, weights are orthogonal
  over the whole kernel at the activation's own gain.

It harms a shallow net a little (pairs of features say the same at the start), which is why it is
not done there, and it asks for a step size that falls with depth: Adam 0.03 / depth, SGD with
momentum 0.1 / depth.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from unvanish.init.branches import TOLERATED
from unvanish.init.draws import orthogonal, principal
from unvanish.init.graph import Bend
from unvanish.init.layout import Layout
from unvanish.init.parts import Part
from unvanish.init.plan import Choice, Plan, make_plan
from unvanish.init.report import Change
from unvanish.init.shaping import Shape, is_odd, mirrored, shaped
from unvanish.init.situation import Situation
from unvanish.init.taps import Convolution, chances, isometric_taps, pushed_out
from unvanish.init.weights import Draw, Recipe, is_spread, write
from unvanish.theory.activations import Nonlinearity

SHALLOW = 8
"""Activations in a row up to which nothing collapses that an orthogonal draw would not carry."""
_FAR = 100.0
"""Logarithm of a growth that is beyond everything."""


def unbent(activation: Nonlinearity, layers: int, width: int) -> Shape | None:
    """Mirrored; an odd activation needs only its scale."""
    if is_odd(activation):
        return shaped(activation, layers)
    return mirrored(activation, layers, width // 2)


def folded(activation: Nonlinearity, layers: int, width: int) -> Shape | None:
    """Deep kernel shaping wherever it has a solution, else mirrored."""
    return shaped(activation, layers) or mirrored(activation, layers, width // 2)


@dataclass(frozen=True, slots=True)
class Stretches:
    """The method with its settings: which shape, which matrices, from which depth on."""

    choice: Choice = unbent
    draw: Draw = orthogonal
    shallow: int = SHALLOW

    def apply(self, situation: Situation) -> None:
        """Write every linear and convolutional layer that may change; set what to calibrate to."""
        plan = self._plan(situation)
        beside = chances(self._lost_beside(situation, plan))
        seen: set[int] = set()
        for index, part in situation.parts.items():
            if id(part.weight) in seen or not situation.may_change(part):
                continue
            seen.add(id(part.weight))
            self._write(situation, plan, index, part, beside.get(index, 0.0))

    def _plan(self, situation: Situation) -> Plan:
        readers = {
            index: part
            for index, part in situation.parts.items()
            if situation.calls_of(part) and situation.may_change(part) and part.kind != "left"
        }
        writers: dict[int, Bend] = {}
        layers: dict[int, int] = {}
        unbends = self._unbends(situation)
        for together in dict.fromkeys(map(situation.calls_of, readers.values())):
            calls = sorted(together)
            bends = [_bend_behind(situation, call) for call in calls]
            alike = bends[0] and all(b and b.function is bends[0].function for b in bends)
            if bends[0] and alike and all(map(unbends, calls, bends)):
                for index in together & readers.keys():
                    writers[index] = bends[0]
                    layers[index] = situation.bends_in_a_row(index)[0]
        graph, parts = situation.graph, situation.parts
        return make_plan(graph, parts, writers, frozenset(readers), self.choice, layers)

    def _unbends(self, situation: Situation) -> Callable[[int, Bend | None], bool]:
        """Whether the activation behind a part is unbent: along a deep plain stretch, or off scale."""
        known: dict[tuple[int, int, int], bool] = {}

        def unbends(index: int, bend: Bend | None) -> bool:
            plainly = index not in situation.gains and not situation.in_short_branch(index)
            if bend is None or (plainly and situation.depth() > self.shallow):
                return bend is not None
            key = id(bend.function), *situation.bends_in_a_row(index)
            if key not in known:
                known[key] = leaves_scale(bend.function, *key[1:])
            return known[key]

        return unbends

    def _write(
        self, situation: Situation, plan: Plan, index: int, part: Part, beside: float
    ) -> None:
        shape, reads = plan.writes.get(index), plan.reads.get(index)
        local = self._is_local(situation, plan, index)
        branch = situation.gains.get(index, 1.0)
        hands_on = reads is not None or index in plan.passes
        gain = branch * (1.0 if hands_on else gain_after(situation, index))
        draw = self._draw(situation, part, shape)
        recipe = Recipe(
            draw=draw,
            gain=gain,
            writes=shape,
            reads=reads,
            local=local,
            chance=beside,
            places=_places(situation, index),
        )
        write(part, recipe, situation.generator)
        numbers = {"gain": gain}
        if shape is not None:
            numbers = {"scale": shape.scale, "shift": shape.shift, "slope": shape.slope}
        if beside:
            numbers["beside"] = beside
        situation.changes.append(
            Change(
                module=part.module,
                method="passing on" if index in plan.passes else _name(part, shape, reads, local),
                parameters=part.names,
                numbers=numbers,
            )
        )
        if situation.calls_of(part) and index not in plan.passes:
            scale, shift = (1.0, 0.0) if shape is None else (shape.scale, shape.shift)
            situation.aims[index] = (scale * situation.sizes.get(index, 1.0), shift)

    def _draw(self, situation: Situation, part: Part, shape: Shape | None) -> Draw:
        """Where a stretch begins with fewer numbers than the batch has, the batch says which."""
        if shape is None:
            return self.draw
        samples = situation.samples_of(part)
        numbers = part.outputs // 2 if shape.mirrored else part.outputs
        return self.draw if samples is None or numbers >= part.inputs else principal(samples)

    def _is_local(self, situation: Situation, plan: Plan, index: int) -> bool:
        """Whether the kernel has its isometric taps only: along a deep plain stretch.

        Not where the padding is done before it and not by it: nobody says how much of that is on
        the left, and so which tap reads the place itself. A wrong one moves the map a step in every
        layer, until it has been pushed out.
        """
        if index in plan.passes:
            return True
        if situation.padded_before(index):
            return False
        if index in plan.reads:
            return True
        deep = situation.depth() > self.shallow and not situation.in_short_branch(index)
        return deep and situation.graph.source(index)[0] != "batch"

    def _lost_beside(self, situation: Situation, plan: Plan) -> dict[int, float]:
        """What the kernels lose that may read from beside: see :func:`_may_stand_beside`.

        None that takes off the offset of an activation: at the border there is none to take off.
        """
        return {
            index: pushed_out(part.owner, _places(situation, index))
            for index, part in situation.parts.items()
            if self._is_local(situation, plan, index)
            and index not in plan.passes
            and not (index in plan.reads and plan.reads[index].offset.any())
            and situation.may_change(part)
            and isinstance(part.owner, Convolution)
            and _may_stand_beside(situation, part, part.owner)
        }


def _may_stand_beside(situation: Situation, part: Part, kernel: Convolution) -> bool:
    """Whether its map keeps its size, and is read as a whole by a linear layer in the end.

    Where a map is what comes out, each place has to say what is at that place. A kernel that is
    called again and again has one scale for all calls: what each loses at the borders stays lost.
    """
    index = part.operation
    same = situation.graph[index].input_shapes[0][2:] == _places(situation, index)
    alone = part.calls == 1 and len(isometric_taps(kernel)) == 1
    return same and alone and situation.is_read_as_a_whole(index)


def _places(situation: Situation, index: int) -> tuple[int, ...]:
    """The size of the map that a convolution puts out."""
    return situation.graph[index].output_shape[2:]


def _bend_behind(situation: Situation, index: int) -> Bend | None:
    """The activation that a part feeds; of several alike the first."""
    bends = situation.bends_behind(index)
    alike = bool(bends) and all(b.function is bends[0].function for b in bends)
    return bends[0] if alike else None


def leaves_scale(activation: Nonlinearity, layers: int, branches: int = 0) -> bool:
    """Whether, at scale one, the gradient grows or falls by more than the gate's factor of ten.

    Its square changes by chi = E f'^2 / E f^2 a layer (above one with tanh, a seventh with the
    sigmoid), and so by chi^layers along a plain stretch; around residual branches, which are divided
    by the root of their number, it only grows, by (1 + chi^layers / branches)^branches.
    """
    square, slope = activation.square(1.0), activation.slope_square(1.0)
    if not (0 < square < math.inf and 0 < slope < math.inf):
        return False
    growth = layers * math.log(slope / square)
    if branches:
        growth = branches * math.log1p(math.exp(min(growth, _FAR)) / branches)
    return abs(growth) > 2 * math.log(TOLERATED)


def gain_after(situation: Situation, index: int) -> float:
    """1 / root(E f^2): what makes up for the activation that feeds this layer, if one does."""
    kind, place = situation.graph.source(index)
    if kind != "bend" or place is None:
        return 1.0
    square = situation.graph.bend_ends[place].function.square(1.0)
    return square**-0.5 if square > 0 else 1.0


def _name(part: Part, shape: Shape | None, reads: Layout | None, local: bool) -> str:
    if shape is not None:
        form = "mirrored" if shape.mirrored else "shaped"
    else:
        form = "last of a stretch" if reads is not None else ""
    kernel = "delta-orthogonal" if local and is_spread(part) else "orthogonal"
    return f"{form} {kernel}".strip()
