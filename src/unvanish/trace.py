"""Trace: one observation of one model, as plain numbers that survive JSON.

The words used everywhere:

* the gradient *arrives* at an op with respect to the op's output, from the side of the loss;
* it *leaves* the op along its edges, with respect to each of the op's inputs;
* ``gain`` is the l2 norm that leaves towards the data divided by the l2 norm that arrived;
* norms are l2 over all elements of a tensor, taken in float64 or with a float64 rescue where
  float32 would under- or overflow; shares lie in 0..1; decades are log10 of a ratio of norms.

Absent is never zero: a number that was not measured is ``None``.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from unvanish.saved import Saved


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """The gradient that leaves an op with respect to one of its inputs.

    ``target`` is the index of the op that made this input (``None``: the input needs no
    gradient); ``slot`` is which output of that op it is. ``side`` is ``"parameter"`` where
    everything behind the edge is parameters (a weight, its transpose), else ``"data"``.
    """

    target: int | None
    slot: int
    side: str
    norm: float | None = None
    zeros: int | None = None
    nonfinite: int | None = None
    elements: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Op:
    """One operation of the backward graph, in execution order from the loss.

    ``kind`` is autograd's name without ``Backward0`` (``"Addmm"``, ``"Sigmoid"``), ``role`` what
    it does to a gradient (see :mod:`unvanish.kinds`), ``module`` and ``call`` the innermost module
    call that made it (functional ops fall to the enclosing module). ``norm``, ``zeros``,
    ``nonfinite`` and ``elements`` describe the gradient that arrived (``None``: none did).
    ``output_rms`` is the forward root mean square of the op's output where it was seen.
    ``in_program`` is false for ops that carry gradient only because the observation made the
    inputs require grad: without it their gradient is never computed.
    ``inside`` is the index of the checkpoint op that recomputed this op, if one did.
    """

    index: int
    kind: str
    role: str
    module: str
    call: int
    edges: tuple[Edge, ...]
    norm: float | None = None
    zeros: int | None = None
    nonfinite: int | None = None
    elements: int | None = None
    output_rms: float | None = None
    in_program: bool = True
    parameter: str | None = None
    inside: int | None = None

    @property
    def left(self) -> float | None:
        """Norm of what leaves towards the data; towards parameters where there is no data side."""
        measured = [edge for edge in self.edges if edge.norm is not None]
        chosen = [edge for edge in measured if edge.side == "data"] or measured
        return math.hypot(*(cast(float, e.norm) for e in chosen)) if chosen else None

    @property
    def gain(self) -> float | None:
        """``left / norm``; ``None`` where either is unknown or nothing arrived."""
        left = self.left
        return left / self.norm if left is not None and self.norm else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One tensor function of the forward pass, as the program called it, in order.

    ``inputs`` says for each tensor argument which earlier operation made it (``None``: the batch,
    a parameter or a constant), ``input_shapes`` their shapes; ``parameters`` are the names of the
    parameters among them. ``inside`` says that a module of the model was running, ``from_data``
    that something of the batch flowed in. ``dim`` is set for softmax and sum, ``targets`` (least,
    largest) for a binary cross entropy of logits in which every one of them counts.
    """

    function: str
    module: str
    call: int
    inside: bool
    inputs: tuple[int | None, ...]
    parameters: tuple[str, ...]
    input_shapes: tuple[tuple[int, ...], ...]
    output_shape: tuple[int, ...]
    dtype: str
    dim: int | None
    requires_grad: bool
    from_data: bool
    output_rms: float | None = None
    output_spread: float | None = None
    targets: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrunkPoint:
    """A tensor that every path from the loss to the input passes through: the output of ``op``.

    ``decades`` is log10 of the gain of the segment from here to the next point towards the input,
    ``role`` what that segment is (``"residual"`` where the gradient splits and meets again around
    weights), ``skip_share`` the share of gradient energy that came to the next point by the skip.
    """

    op: int
    norm: float | None
    output_rms: float | None
    role: str
    decades: float | None
    skip_share: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A stretch of the trunk with one weighted part: what the depth axis counts.

    Counted from the loss: layer 0 is nearest to it. ``norm`` is the gradient that arrives at the
    layer's output; ``decades`` splits the log10 gain of the layer by role (``activation``,
    ``weight``, ``norm``, ``residual``, ``rest``) and adds up to the whole. ``parameters`` are the
    weights on this stretch; ``elasticity`` is their gradient norm times weight norm: by how much
    the loss would change if they changed by their own size (first order).
    ``output_rms`` is the forward scale of the layer's output, ``output_spread`` the share of it
    that differs between the samples of the batch (0: every sample gives the same output).
    ``output`` is the op that made it. ``sensitivity`` is gradient norm times norm of that output
    (by how much the loss would change, to first order, if the output changed by its own size).
    ``difference`` is the share of energy in which the directions of the samples differ (1 minus
    their mean cosine), ``directions`` its parts along each direction, the strongest first.
    ``predicted`` is the log10 gain that theory expects (``None``: not a part it knows).
    """

    name: str
    modules: tuple[str, ...]
    parameters: tuple[str, ...]
    norm: float | None
    decades: dict[str, float]
    elasticity: float | None
    output_rms: float | None
    output_spread: float | None = None
    skip_share: float | None = None
    output: int | None = None
    sensitivity: float | None = None
    difference: float | None = None
    directions: tuple[float, ...] = ()
    predicted: float | None = None

    @property
    def total(self) -> float:
        """log10 of the layer's gain: the sum of its split."""
        return math.fsum(self.decades.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter tensor. ``names`` lists every name it has in the model (tied parameters).

    ``state`` keeps apart what must never be merged: ``"frozen"`` (requires no grad), ``"none"``
    (not reached: autograd gave None), ``"zero"`` (reached, every entry exactly zero), ``"tiny"``
    (reached, not zero, but its elasticity is below float32 resolution of the largest one),
    ``"nonfinite"`` and ``"reached"``. ``snr`` is the norm of the mean gradient over batches divided by the
    standard error of that mean (``None`` for one batch); ``spread`` is the
    standard deviation of the gradient norm over batches divided by its mean.
    ``uses`` counts the ops that the gradient reaches it from, ``used`` says whether the forward
    pass touched it at all, ``to_loss`` whether its value flowed into the loss, ``written`` whether
    the forward pass itself writes into it (running averages do that).
    """

    names: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    state: str
    weight_norm: float
    weight_rms: float
    gradient_norm: float | None = None
    gradient_rms: float | None = None
    gradient_max: float | None = None
    zeros: int | None = None
    nonfinite: int | None = None
    elements: int = 0
    snr: float | None = None
    spread: float | None = None
    uses: int = 0
    used: bool | None = None
    to_loss: bool | None = None
    written: bool = False
    equal_units: bool = False
    equal_gradients: bool = False

    @property
    def name(self) -> str:
        return self.names[0]

    @property
    def elasticity(self) -> float | None:
        """``|gradient| * |weight|``: change of the loss if the tensor changed by its own size."""
        return None if self.gradient_norm is None else self.gradient_norm * self.weight_norm


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation:
    """One call of an activation function, module or functional.

    Shares are over all elements of all batches: ``saturated_share`` where |f'| is below 5 % of the
    largest |f'| the function has (only for functions flat on both sides), ``dead_share`` the
    share of units (features or channels) whose output is exactly zero on every sample and place.
    ``gate`` says that the output multiplies another signal; ``feeds_loss`` that nothing weighted
    stands between it and the loss. ``histogram`` counts a sample of the first batch's inputs in the
    bins of :func:`preactivation_edges` (empty: not counted).
    """

    module: str
    call: int
    function: str
    input_rms: float
    input_mean: float
    output_rms: float
    derivative_rms: float | None
    saturated_share: float | None
    dead_share: float | None
    dead_units: int | None
    units: int | None
    elements: int
    fed_by: str | None = None
    gate: bool = False
    feeds_loss: bool = False
    histogram: tuple[int, ...] = ()


def preactivation_edges() -> NDArray[np.float64]:
    """The 65 edges of the bins that inputs of activations are counted in.

    Equal steps of asinh: a quarter wide around zero, a quarter of their own place farther out.
    What is beyond the ends (1,490) is in the outermost bins.
    """
    return np.sinh(np.linspace(-8.0, 8.0, 65))


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Gradient norm over time steps (``axis="time"``) or positions (``axis="position"``).

    ``norms[t]`` is the norm of dL/dx_t over batch and features; step 0 is the first.
    ``source`` says what x is: ``"input"`` of a recurrent module, ``"call"`` of a module called
    once a step (the gradient at its output), or ``"embedding"`` / ``"model input"``.
    ``bidirectional`` says that the module reads the sequence from both ends, ``rereads`` that its
    late steps are given all the data that the early ones were.
    """

    module: str
    axis: str
    source: str
    norms: tuple[float, ...]
    bidirectional: bool = False
    rereads: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A place where a value goes on but its gradient does not."""

    operation: str
    module: str
    parameters: tuple[str, ...]
    to_loss: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Stranger:
    """A leaf tensor that requires grad and gets gradient but is no parameter of the model.

    ``owner`` says whose it is: ``"unregistered"`` (made or held inside the model's own forward),
    ``"outside"`` (used outside the model: a loss with weights, another network), ``"given"`` (what
    the model is called with: an image that is optimized); ``name`` by which attribute the model
    holds it (``"layers.2.weight"``, empty: by none that was found).
    """

    shape: tuple[int, ...]
    module: str
    operation: str
    owner: str
    gradient_norm: float | None
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nonfinite:
    """The first place where NaN or Inf appears, and what went into it.

    ``came_in``: a parameter or a tensor from outside that was not finite itself, in words.
    ``parameters`` are those that it is about: they were bad on the way in, or get a bad gradient.
    ``batch`` is the number of the batch, from zero; those before it show none.
    """

    phase: str
    operation: str
    module: str
    call: int
    kind: str
    count: int
    input_min: float | None
    input_max: float | None
    input_zeros: int | None
    parameters: tuple[str, ...] = ()
    came_in: str | None = None
    batch: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """Under which the observation was made. ``seed`` is ``None`` where a running training was watched.

    ``whole`` is false where the model itself was never called, only parts of it one by one.
    """

    unvanish: str
    torch: str
    python: str
    device: str
    dtypes: tuple[str, ...]
    training: bool
    seed: int | None
    batches: int
    batch_size: int | None
    loss: float | None
    losses: tuple[float, ...]
    parameters: int
    trainable: int
    modules: int
    inputs_differentiated: bool
    notes: tuple[str, ...] = ()
    whole: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Whether signal and gradient keep their scale, and samples their places, along the trunk.

    From the first layer's output (``first``, nearest to the input) to the last hidden one's.
    Decades are log10 of last over first forward (rms), of first over last backward (gradient norm,
    and sensitivity: gradient norm times signal norm). ``cosine`` is the mean cosine between
    samples, ``directions`` in how many directions they differ; ``outputs`` how many numbers the
    model gives for a sample.
    """

    forward_decades: float | None
    backward_decades: float | None
    sensitivity_decades: float | None
    cosine_first: float | None
    cosine_last: float | None
    directions_first: float | None
    directions_last: float | None
    outputs: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace(Saved):
    """One observation. Made by :func:`unvanish.observe`; plain numbers, no tensors, no model."""

    SCHEMA: ClassVar[int | None] = 1

    ops: tuple[Op, ...]
    trunk: tuple[TrunkPoint, ...]
    layers: tuple[Layer, ...]
    parameters: tuple[Parameter, ...]
    activations: tuple[Activation, ...]
    profiles: tuple[Profile, ...]
    cuts: tuple[Cut, ...]
    strangers: tuple[Stranger, ...]
    nonfinite: tuple[Nonfinite, ...]
    operations: tuple[Operation, ...]
    loss_operation: int | None
    conditions: Conditions
    unseen: tuple[str, ...]
    gate: Gate | None = None

    def parameter(self, name: str) -> Parameter:
        """The reading of the parameter with this (or an aliased) name.

        Raises:
            KeyError: no parameter of the observed model has this name.
        """
        for parameter in self.parameters:
            if name in parameter.names:
                return parameter
        raise KeyError(name)

    def of_kind(self, kind: str) -> tuple[Op, ...]:
        """The ops of this kind (``"Sigmoid"``), in execution order from the loss."""
        return tuple(op for op in self.ops if op.kind == kind)
