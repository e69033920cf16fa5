"""Nets with skips: how signal and gradient grow over blocks x -> a x + b f(x).

A branch is described by two numbers: ``forward``, the mean square of f(x) over that of x, and
``backward``, the factor on the mean square gradient of the branch alone. A branch of freshly drawn
weights is independent of its skip, so that squares add up.
"""

import math
from dataclasses import dataclass

from unvanish.errors import BadInput
from unvanish.theory.depths import checked_depth, within


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """Factors on the mean square over all blocks: of the signal, and of the gradient."""

    forward: float
    backward: float

    @property
    def gradient_decades(self) -> float:
        """log10 of the norm of the gradient below the blocks over that above them."""
        return math.log10(self.backward) / 2


def plain_sum(
    blocks: int, forward: float = 1.0, backward: float = 1.0, skip: float = 1.0, branch: float = 1.0
) -> Growth:
    """Blocks ``skip * x + branch * f(x)``: (skip^2 + branch^2 v)^blocks.

    With branches that keep the scale (He): twice per block, both ways.

    >>> plain_sum(10).backward
    1024.0
    """
    for name, factor in (("skip", skip), ("branch", branch)):
        if not within(factor, -math.inf):
            raise BadInput(f"{name}={factor} is no factor: pass a finite number.")
    one = Growth(
        forward=skip**2 + branch**2 * _square(forward, "forward"),
        backward=skip**2 + branch**2 * _square(backward, "backward"),
    )
    count = checked_depth(blocks)
    return Growth(forward=one.forward**count, backward=one.backward**count)


def scaled_branches(blocks: int, forward: float = 1.0, backward: float = 1.0) -> Growth:
    """Branches scaled by 1/sqrt(blocks): at most a factor e in all where v is at most one.

    >>> scaled_branches(1000).backward < 2.7183
    True
    """
    return plain_sum(blocks, forward, backward, branch=1 / math.sqrt(max(checked_depth(blocks), 1)))


def gated(blocks: int, gate: float, forward: float = 1.0, backward: float = 1.0) -> Growth:
    """SkipInit and ReZero: ``x + gate * f(x)``; at gate 0 exactly the identity.

    De and Smith 2020 (arXiv:2002.10444), Bachlechner et al. 2020 (arXiv:2003.04887).

    >>> gated(1000, gate=0.0)
    Growth(forward=1.0, backward=1.0)
    """
    return plain_sum(blocks, forward, backward, branch=gate)


def pre_norm(blocks: int, forward: float = 1.0, backward: float = 1.0) -> Growth:
    """``x + f(norm(x))``: the stream grows by v a block, so the l-th branch counts 1/l.

    The gradient grows by the product of 1 + backward / (1 + forward l) over the blocks l = 0, 1,
    ...: polynomially, blocks + 1 for branches that keep the scale (De and Smith 2020).

    >>> round(pre_norm(99).backward, 6)
    100.0
    """
    count = checked_depth(blocks)
    v, chi = _square(forward, "forward"), _square(backward, "backward")
    logs = math.fsum(math.log1p(chi / (1 + v * block)) for block in range(count))
    return Growth(forward=1 + v * count, backward=math.exp(logs))


def post_norm(blocks: int, forward: float = 1.0, backward: float = 1.0) -> Growth:
    """``norm(x + f(x))``: (1 + backward) / (1 + forward) a block; through the skips alone 1/2.

    Xiong et al. 2020 (arXiv:2002.04745).

    >>> post_norm(12, backward=0.0).backward == 0.5**12
    True
    """
    return deep_norm(blocks, forward, backward, alpha=1.0, beta=1.0)


def deep_norm(
    blocks: int,
    forward: float = 1.0,
    backward: float = 1.0,
    alpha: float | None = None,
    beta: float | None = None,
) -> Growth:
    """``norm(alpha x + f(x))``, f scaled by beta: (a^2 + b^2 chi) / (a^2 + b^2 v) a block.

    By default alpha = (2 blocks)^(1/4), beta = (8 blocks)^(-1/4), with blocks counted as in an
    encoder or decoder alone (Wang et al. 2022, arXiv:2203.00555).

    >>> 0.7 < deep_norm(1000, backward=0.0).backward < 1.0
    True
    """
    count = checked_depth(blocks)
    a = (2 * max(count, 1)) ** 0.25 if alpha is None else alpha
    b = (8 * max(count, 1)) ** -0.25 if beta is None else beta
    whole = a**2 + b**2 * _square(forward, "forward")
    one = (a**2 + b**2 * _square(backward, "backward")) / whole
    return Growth(forward=1.0, backward=one**count)


def _square(value: float, name: str) -> float:
    if not within(value, 0):
        raise BadInput(f"{name}={value} is no ratio of mean squares: pass zero or more.")
    return value
