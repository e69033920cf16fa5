"""A rational function with learned coefficients, held at unit gain, its denominator never zero."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unvanish.errors import BadInput
from unvanish.nn.gaussian import Activation, examine

_POINTS, _REACH = 128, 7.0  # the weight outside is below 1e-11
_UNIT = 4.0  # a step of one size then moves every coefficient's term alike where inputs are
_FIT = 8.0  # fitted well beyond its usual inputs: a wrong tail feeds on itself in a deep net


class Rational(nn.Module):
    """gain P(x) / (1 + Q(x)^2) + shift: E f(z)^2 = E f'(z)^2 = 1 while the coefficients learn.

    P(x) = p0 + p1 t + ... and Q(x) = q1 t + q2 t^2 + ... with t = x/4: a Pade activation (Molina et al. 2020,
    arXiv:1907.06732) whose denominator is a square plus one, where the paper takes an absolute
    value: never zero, and smooth where Q changes its sign. With ``tailored`` (the default), gain
    and shift follow from sums over 128 fixed points, with their exact gradient; the shift is that
    of Gaussian-Poincare normalisation (Lu, Gould, Ajanthan 2020, arXiv:2006.16427), real for any
    function.

    Applied to each number, in float32 at least (fifth powers overflow half precision). Parameters
    ``numerator`` (6) and ``denominator`` (2), lowest power first.

    Args:
        approximates: a module or function of one tensor that it starts as, by least squares on
            [-8, 8] (denser in the middle), before gain and shift.
        degrees: of P and of Q; a P of higher degree than twice Q's grows without bound.
        tailored: whether gain and shift hold both mean squares at one; otherwise they are 1 and 0.

    It harms in deep plain nets: over 30 layers it lost to the plain and to every fixed activation
    (``docs/nn.md``). What its fit gets wrong in the tails grows from layer to layer, one step of an
    adaptive optimizer moves all eight coefficients at once, and the slope of a quotient can spike.
    Use it in a few layers, with a smaller learning rate, compiled (eager, it is 25 times the price).

    >>> silu = Rational(nn.SiLU(), tailored=False)
    >>> x = torch.linspace(-3, 3, 101)
    >>> bool((silu(x) - nn.SiLU()(x)).abs().max() < 0.01)
    True
    """

    def __init__(
        self, approximates: Activation, *, degrees: tuple[int, int] = (5, 2), tailored: bool = True
    ) -> None:
        super().__init__()
        if len(degrees) != 2 or min(degrees) < 1 or max(degrees) > 10:
            raise BadInput(f"degrees must be two whole numbers from 1 to 10, not {degrees!r}")
        if isinstance(approximates, type) or not callable(approximates):
            raise BadInput(f"approximates must be a module or a function, not {approximates!r}")
        examine(approximates)
        numerator, denominator = _fit(approximates, *degrees)
        dtype = torch.get_default_dtype()
        self.numerator = nn.Parameter(numerator.to(dtype))
        self.denominator = nn.Parameter(denominator.to(dtype))
        self.tailored = tailored
        z, weight = _points(numerator)
        mean = float((weight * _value_and_slope(z, numerator, denominator)[0]).sum())
        self.sign = -1.0 if mean < -1e-6 else 1.0  # the shift that moves the function less

    def forward(self, x: Tensor) -> Tensor:
        """The activation of each number."""
        work = torch.promote_types(x.dtype, torch.float32)
        with torch.autocast(x.device.type, enabled=False):
            p, q = self.numerator.to(work), self.denominator.to(work)
            made = _value(x.to(work), p, q)
            if self.tailored:
                gain, shift = _gain_and_shift(p, q, self.sign)
                made = made * gain + shift
        return made.to(x.dtype)

    def extra_repr(self) -> str:
        return f"degrees=({len(self.numerator) - 1}, {len(self.denominator)}), " + (
            f"tailored={self.tailored}"
        )


def _horner(x: Tensor, coefficients: Sequence[Tensor]) -> Tensor:
    made = coefficients[-1] + x * 0
    for coefficient in reversed(coefficients[:-1]):
        made = made * x + coefficient
    return made


def _value(x: Tensor, numerator: Tensor, denominator: Tensor) -> Tensor:
    t = x / _UNIT
    below = t * _horner(t, denominator.unbind())
    return _horner(t, numerator.unbind()) / (1 + below.square())


def _value_and_slope(x: Tensor, numerator: Tensor, denominator: Tensor) -> tuple[Tensor, Tensor]:
    p, q, t = numerator.unbind(), denominator.unbind(), x / _UNIT
    top, below = _horner(t, p), t * _horner(t, q)
    top_slope = _horner(t, [k * c for k, c in enumerate(p)][1:])
    below_slope = _horner(t, [(k + 1) * c for k, c in enumerate(q)])
    bottom = 1 + below.square()
    value = top / bottom
    return value, (top_slope - 2 * value * below * below_slope) / (bottom * _UNIT)


def _points(like: Tensor) -> tuple[Tensor, Tensor]:
    z = torch.linspace(-_REACH, _REACH, _POINTS, dtype=like.dtype, device=like.device)
    weight = torch.exp(-z.square() / 2) * (2 * _REACH / (_POINTS - 1) / math.sqrt(2 * math.pi))
    return z, weight


def _gain_and_shift(numerator: Tensor, denominator: Tensor, sign: float) -> tuple[Tensor, Tensor]:
    z, weight = _points(numerator)
    value, slope = _value_and_slope(z, numerator, denominator)
    mean = (weight * value).sum()
    variance = (weight * (value - mean).square()).sum()
    gain = torch.rsqrt((weight * slope.square()).sum())
    # A linear function has nothing left over; the floor keeps the gradient of the root finite.
    left_over = (1 - gain.square() * variance).clamp(min=1e-6)
    return gain, sign * left_over.sqrt() - gain * mean


def _fit(function: Activation, top: int, below: int) -> tuple[Tensor, Tensor]:
    """Least squares by Levenberg and Marquardt's method, from the best polynomial of degree one."""
    with torch.no_grad(), torch.device("cpu"):
        x = torch.linspace(-1, 1, 1201, dtype=torch.float64)
        x = _FIT * x * (1 + 3 * x.square()) / 4  # four times as dense in the middle
        wanted = function(x.clone())
        best: tuple[float, Tensor] = (math.inf, torch.zeros(top + 1 + below, dtype=torch.float64))
        for start in (0.1, 0.5):
            guess = torch.zeros(top + 1 + below, dtype=torch.float64)
            guess[top + 1 :] = start
            found = _descend(guess, x, wanted, top)
            if found[0] < best[0]:
                best = found
    return best[1][: top + 1], best[1][top + 1 :]


def _descend(guess: Tensor, x: Tensor, wanted: Tensor, top: int) -> tuple[float, Tensor]:
    def residual(c: Tensor) -> Tensor:
        return _value(x, c[: top + 1], c[top + 1 :]) - wanted

    damping, error = 1e-2, float(residual(guess).square().sum())
    for _ in range(60):
        jacobian, left = _jacobian(guess, x, top), residual(guess)
        square = jacobian.T @ jacobian
        ridge = torch.diag(square.diagonal().clamp(min=1e-12) * damping)
        there = guess - torch.linalg.solve(square + ridge, jacobian.T @ left)
        after = float(residual(there).square().sum())
        if after < error:
            done, guess, error, damping = after > error * (1 - 1e-5), there, after, damping / 5
            if done:
                break
        elif damping > 1e8:
            break
        else:
            damping *= 4
    return error, guess


def _jacobian(c: Tensor, x: Tensor, top: int) -> Tensor:
    """Of the fitted value by each coefficient: (points, coefficients)."""
    p, q, x = c[: top + 1], c[top + 1 :], x / _UNIT
    above, below = _horner(x, p.unbind()), x * _horner(x, q.unbind())
    bottom = 1 + below.square()
    by_top = [x**k / bottom for k in range(top + 1)]
    pull = -2 * above * below / bottom.square()
    by_below = [pull * x ** (k + 1) for k in range(len(q))]
    return torch.stack([*by_top, *by_below], 1)
