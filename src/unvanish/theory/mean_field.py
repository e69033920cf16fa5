"""A wide plain net at initialisation: how lengths, correlations and gradients go from layer to layer.

Poole et al. 2016 (arXiv:1606.05340) and Schoenholz et al. 2017 (arXiv:1611.01232): eq. numbers in
the docstrings are those of the second, section numbers too.
"""

import math
from dataclasses import dataclass, field
from typing import Any

from unvanish.errors import BadInput
from unvanish.theory.activations import Nonlinearity, nonlinearity
from unvanish.theory.depths import ALWAYS, checked_depth, depth_of, falling_root, within
from unvanish.theory.quadrature import has_mean, mean

_ENDLESS = 1e12  # a length that still grows here has no fixed point
_NOTHING = 1e-9  # without biases, a length that still falls here ends at zero


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """Where a plain net settles, and over how many layers it forgets. Depths count layers.

    ``length`` is q*, the variance of a pre-activation; ``correlation`` c* of two samples;
    ``gradient_factor`` chi_1, what a layer multiplies the mean square of the gradient by;
    ``correlation_slope`` that of the correlation map at c*. ``length_depth``, ``correlation_depth``
    and ``gradient_depth`` are xi_q, xi_c and xi_grad: layers for a factor e (``gradient_depth`` is
    negative where the gradient grows, infinite where it stays). ``trainable_depth`` is 6 xi_c.
    ``name`` is ``"ordered"``, ``"chaotic"`` or ``"critical"``.
    """

    name: str
    length: float
    correlation: float
    gradient_factor: float
    correlation_slope: float
    length_depth: float
    correlation_depth: float
    gradient_depth: float
    trainable_depth: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanField:
    """A wide plain net in the limit of infinite width: random weights, one activation.

    ``weight`` is sigma_w^2, the variance of a weight times the fan-in (He: 2, torch's default
    ``Linear``: 1/3); ``bias`` is sigma_b^2, the variance of a bias; ``keep`` the share of units
    that dropout leaves (1: none). ``activation`` is a name, any elementwise callable, or ``None``
    for linear. For a convolution the fan-in is channels times kernel size.

    Raises:
        BadInput: a negative or infinite variance, ``keep`` outside (0, 1], no such activation.

    >>> net = MeanField(activation="tanh", weight=1.5, bias=0.05)
    >>> round(net.phase().gradient_factor, 4), round(net.trainable_depth())
    (0.9386, 95)
    """

    activation: Any
    weight: float
    bias: float = 0.0
    keep: float = 1.0
    function: Nonlinearity = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "function", nonlinearity(self.activation))
        for name, value in (("weight", self.weight), ("bias", self.bias)):
            if not within(value, 0):
                raise BadInput(
                    f"{name}={value} is no variance: pass sigma squared, zero or more and finite."
                )
        if not within(self.keep, 0, 1) or not self.keep:
            raise BadInput(
                f"keep={self.keep} is no share of units that dropout leaves: pass 1 minus its p, "
                "more than 0 and at most 1."
            )

    def next_length(self, length: float) -> float:
        """Variance of the next pre-activation, from this one's (eq. 3)."""
        return self.weight * self._square(length) / self.keep + self.bias

    def length_after(self, layers: int, length: float = 1.0) -> float:
        """Variance of the pre-activation this many layers behind one of variance ``length``."""
        for _ in range(checked_depth(layers)):
            length = self.next_length(length)
        return length

    def fixed_length(self) -> float:
        """q*: the variance that the layers settle at (infinite or zero where they never do)."""
        sides = self.function.sides
        if sides is not None:
            factor = self.weight * (sides[0] ** 2 + sides[1] ** 2) / 2 / self.keep
            if abs(factor - 1) < 1e-12:
                return math.inf if self.bias else 1.0
            return math.inf if factor > 1 else self.bias / (1 - factor)
        length = 1.0
        for _ in range(4000):
            first = self.next_length(length)
            if abs(first - length) <= 1e-12 * length:
                return first
            if first > _ENDLESS or (first < _NOTHING and not self.bias):
                return math.inf if first > 1 else 0.0
            length = self._further(length, first)
        return length

    def _further(self, length: float, first: float) -> float:
        """One step ahead by Aitken's rule, unless it would leap over the fixed point."""
        second = self.next_length(first)
        bend = second - 2 * first + length
        ahead = first - (first - length) * (second - first) / bend if bend else second
        way = second - first
        if not 0 < ahead < _ENDLESS or (ahead - second) * way <= 0:
            return second
        return ahead if (self.next_length(ahead) - ahead) * way >= 0 else second

    def gradient_factor(self, length: float | None = None) -> float:
        """chi_1: what a layer multiplies the mean square of the gradient by (eq. 5).

        ``length`` is the variance of the pre-activation, the fixed one if not given.
        """
        return self.weight * self.function.slope_square(self._at(length)) / self.keep

    def length_slope(self, length: float | None = None) -> float:
        """d(next length) / d(length); its logarithm is -1/xi_q (eq. 8)."""
        at = self._at(length)
        sides = self.function.sides
        if sides is not None:
            return self.gradient_factor(at)
        scale = math.sqrt(max(at, 1e-16))
        value, slope = self.function.value, self.function.slope
        rise = mean(lambda u: value(u) * slope(u) * u, scale**2, self.function.kinks) / scale**2
        return self.weight * rise / self.keep

    def next_correlation(self, correlation: float, length: float | None = None) -> float:
        """Correlation of two samples after a layer, from that before it, both at this length.

        With dropout each sample has a mask of its own, so that even two equal ones come apart.
        """
        at = self._at(length)
        following = self.next_length(at)
        if following == 0:
            return correlation
        return (self.weight * self.function.product(at, correlation) + self.bias) / following

    def correlation_slope(self, correlation: float, length: float | None = None) -> float:
        """d(next correlation) / d(correlation); at one and without dropout ``gradient_factor``."""
        at = self._at(length)
        slope = self.weight * self.function.slope_product(at, correlation)
        return slope * at / self.next_length(at) if at > 0 else slope

    def fixed_correlation(self) -> float:
        """c*: the correlation that two unlike samples end at: 1 in the ordered phase, less in chaos.

        With dropout it is below 1 in every phase (section 5).
        """
        length = self._finite_length()
        if self.keep == 1 and self.correlation_slope(1.0, length) <= 1 + ALWAYS:
            return 1.0
        if self.next_correlation(0.0, length) < 1e-12:
            return 0.0
        highest = 1.0 if self.keep < 1 else 1 - ALWAYS
        return falling_root(lambda c: self.next_correlation(c, length) - c, 0.0, highest)

    def correlation_after(self, layers: int, correlation: float = 0.0) -> float:
        """Correlation of two samples this many layers on, at the fixed length."""
        length = self._finite_length()
        for _ in range(checked_depth(layers)):
            correlation = self.next_correlation(correlation, length)
        return correlation

    def correlation_depth(self) -> float:
        """xi_c: layers over which the distance from the fixed correlation falls by e (eq. 9)."""
        correlation, length = self.fixed_correlation(), self._finite_length()
        return depth_of(self.correlation_slope(correlation, length))

    def length_depth(self) -> float:
        """xi_q: layers over which the distance from the fixed length falls by a factor e."""
        return depth_of(self.length_slope(self._finite_length()))

    def gradient_depth(self) -> float:
        """xi_grad: layers over which the mean square gradient falls by e; negative: it grows."""
        return depth_of(self.gradient_factor())

    def trainable_depth(self) -> float:
        """The deepest net that learns: 6 xi_c layers (section 4); infinite at criticality.

        Where lengths grow without end, correlations settle but the gradient does not: 6 |xi_grad|.
        """
        endless = math.isinf(self.fixed_length())
        return 6 * abs(self.gradient_depth() if endless else self.correlation_depth())

    def gradient_decades(self, layers: int, length: float | None = None) -> float:
        """log10 of the norm of the gradient after this many layers over that before them.

        ``length`` is the variance of the first pre-activation (nearest to the input), the fixed
        one if not given. Infinitely wide layers; see ``finite_width`` for the spread.

        >>> round(MeanField(activation="relu", weight=1 / 3).gradient_decades(30), 2)
        -11.67
        """
        at = self._at(length)
        total = 0.0
        for _ in range(checked_depth(layers)):
            factor = self.gradient_factor(at)
            total += math.log10(factor) / 2 if factor else -math.inf
            at = self.next_length(at) if length is not None else at
        return total

    def phase(self) -> Phase:
        """All of it at the fixed point, as one record."""
        factor, correlation = self.gradient_factor(), self.fixed_correlation()
        name = "ordered" if factor < 1 else "chaotic"
        length = self._finite_length()
        return Phase(
            name="critical" if abs(factor - 1) < ALWAYS else name,
            length=self.fixed_length(),
            correlation=correlation,
            gradient_factor=factor,
            correlation_slope=self.correlation_slope(correlation, length),
            length_depth=self.length_depth(),
            correlation_depth=self.correlation_depth(),
            gradient_depth=depth_of(factor),
            trainable_depth=self.trainable_depth(),
        )

    def _square(self, length: float) -> float:
        value = self.function.square(length)
        if not math.isfinite(value) or not self._settled(length):
            raise BadInput(
                f"activation {self.function.name} has no finite second moment at variance "
                f"{length:.3g}: a layer of it has no scale; lower weight or bias, or pass an "
                "activation that grows at most linearly."
            )
        return value

    def _settled(self, length: float) -> bool:
        if self.function.sides is not None or length <= 4:
            return True
        value = self.function.value
        return has_mean(lambda u: value(u) ** 2, length, self.function.kinks)

    def _at(self, length: float | None) -> float:
        return self._finite_length() if length is None else min(length, _ENDLESS)

    def _finite_length(self) -> float:
        """The fixed length, or one so large that nothing changes any more."""
        return min(self.fixed_length(), _ENDLESS)
