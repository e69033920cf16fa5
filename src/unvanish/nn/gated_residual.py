"""A residual branch behind a gate that starts closed: the block begins as (nearly) the identity."""

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from unvanish.errors import BadInput
from unvanish.nn.shaping import checked_depth

Kind = Literal["rezero", "skipinit", "layerscale", "convex", "highway"]

_CLOSED = -4.0  # sigmoid(-4) = 0.018
_HIGHWAY_BIAS = -2.0  # Srivastava et al. start between -1 and -4


class GatedResidual(nn.Module):
    """``x + gate * branch(x)``, or ``(1 - gate) * x + gate * branch(x)``, its gate learned.

    ==========  ===========================  =====================================================
    kind        formula                      the gate at the start
    ==========  ===========================  =====================================================
    rezero      x + a f(x), one a            0 (Bachlechner et al. 2020, arXiv:2003.04887)
    skipinit    x + a f(x), one a            1/sqrt(depth) where a depth is given, else 0
                                             (De & Smith 2020, arXiv:2002.10444)
    layerscale  x + d * f(x), d a channel    0.1 up to depth 18, 1e-5 up to 24, then 1e-6
                                             (Touvron et al. 2021, arXiv:2103.17239)
    convex      (1 - t) x + t f(x), one t    t = sigmoid(-4) = 0.018: gains can never exceed one
                                             where those of f do not
    highway     the same, t from x           t = sigmoid(W x - 2) a channel, W = 0
                                             (Srivastava et al. 2015, arXiv:1505.00387)
    ==========  ===========================  =====================================================

    rezero and skipinit (without a depth) are the identity, bit for bit, wherever the branch is
    finite. The others begin near it; ``gate_start=0.0`` makes layerscale exact, too.

    Args:
        branch: any module of one tensor; its output has the shape of its input, or of
            ``projection(x)``.
        kind: see the table.
        channels: for layerscale and highway: how many there are along ``channel_axis``.
        channel_axis: 1 for convolutions, -1 for linear layers and transformers.
        depth: blocks in the net, for skipinit and layerscale.
        gate_start: the gate's first value, in place of that of the table (for convex and highway
            a share strictly between 0 and 1).
        projection: what brings x to the shape of the branch's output; the identity without.

    It harms in three ways: at gate zero the first step gives the branch no gradient at all (only
    the gate learns; a gradient check at the start must know that); with plain SGD a closed gate
    opens slowly where the branch's output is small; and an open skip at every layer makes the net
    an ensemble of shallow ones, which is no cure for a branch that is broken inside.

    >>> block = GatedResidual(nn.Sequential(nn.Linear(8, 8), nn.ReLU()))
    >>> x = torch.randn(4, 8)
    >>> bool((block(x) == x).all()), float(block.gain())
    (True, 0.0)
    """

    def __init__(
        self,
        branch: nn.Module,
        kind: Kind = "rezero",
        *,
        channels: int | None = None,
        channel_axis: int = -1,
        depth: int | None = None,
        gate_start: float | None = None,
        projection: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if kind not in get_args(Kind):
            raise BadInput(f"kind must be one of {', '.join(get_args(Kind))}, not {kind!r}")
        if not isinstance(branch, nn.Module):
            raise BadInput(f"branch must be a module, not {branch!r}")
        self.branch, self.projection = branch, projection
        self.kind, self.channel_axis = kind, channel_axis
        size = _channels(kind, channels)
        start = _start(kind, depth) if gate_start is None else _logit_or_value(kind, gate_start)
        self.gate = nn.Parameter(torch.full(size, start))
        if kind == "highway":
            assert channels is not None
            self.reader = nn.Linear(channels, channels, bias=False)
            nn.init.zeros_(self.reader.weight)

    def forward(self, x: Tensor) -> Tensor:
        """The block's output, of the shape of the branch's."""
        return self.join(x, self.branch(x))

    def join(self, x: Tensor, made: Tensor) -> Tensor:
        """What the block gives for an input and what its branch made of it."""
        skip = x if self.projection is None else self.projection(x)
        if made.shape != skip.shape:
            raise BadInput(
                f"the branch turns {tuple(x.shape)} into {tuple(made.shape)}, which cannot be "
                f"added to {tuple(skip.shape)}: pass a projection that makes it so"
            )
        gate = self._gate_of(skip).to(made.dtype)
        if self.kind in ("convex", "highway"):
            return skip + gate * (made - skip)
        return skip + gate * made

    def gain(self) -> Tensor:
        """Mean size of the gate, detached, without units: 0 is the identity, 1 an open branch.

        Of a highway gate, its value at x = 0.
        """
        gate = self.gate.detach()
        return (gate.sigmoid() if self.kind in ("convex", "highway") else gate).abs().mean()

    def _gate_of(self, skip: Tensor) -> Tensor:
        if self.kind in ("rezero", "skipinit"):
            return self.gate
        if self.kind == "convex":
            return torch.sigmoid(self.gate)
        axis = self.channel_axis % skip.ndim
        if skip.shape[axis] != len(self.gate):
            raise BadInput(
                f"axis {self.channel_axis} of the block's output must have {len(self.gate)} "
                f"channels: its shape is {tuple(skip.shape)}"
            )
        if self.kind == "layerscale":
            return self.gate.reshape(-1, *[1] * (skip.ndim - 1 - axis))
        read = self.reader(skip.movedim(axis, -1)) + self.gate
        return torch.sigmoid(read).movedim(-1, axis)

    def extra_repr(self) -> str:
        return f"kind={self.kind}"


def _channels(kind: Kind, channels: int | None) -> tuple[int, ...]:
    if kind not in ("layerscale", "highway"):
        return ()
    if isinstance(channels, bool) or not isinstance(channels, int) or channels < 1:
        raise BadInput(f"{kind} has a gate for each channel: pass how many as channels=")
    return (channels,)


def _start(kind: Kind, depth: int | None) -> float:
    if depth is not None:
        checked_depth(depth)
    if kind == "skipinit" and depth is not None:
        return depth**-0.5
    if kind == "layerscale":
        return 0.1 if depth is None or depth <= 18 else 1e-5 if depth <= 24 else 1e-6
    return {"convex": _CLOSED, "highway": _HIGHWAY_BIAS}.get(kind, 0.0)


def _logit_or_value(kind: Kind, start: float) -> float:
    if kind in ("convex", "highway"):
        if not 0 < start < 1:
            raise BadInput(f"the gate of {kind} starts strictly between 0 and 1, not at {start!r}")
        return math.log(start / (1 - start))
    if not math.isfinite(start):
        raise BadInput(f"gate_start must be finite, not {start!r}")
    return start
