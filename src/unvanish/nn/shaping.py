"""Scale and shift an activation so that a net of a given depth keeps its signals apart and alive.

The transformed activation is ``g (f(a x + b) + d)``; a, b, g, d are solved once, in float64.

- Deep kernel shaping (DKS, Martens et al. 2021, arXiv:2110.01765): Q(1) = Q'(1) = 1, C(0) = 0 and
  C'(1) = zeta^(1/depth).
- Tailored activation transformation (TAT, Zhang, Botev, Martens 2022, arXiv:2203.08120, for smooth
  activations): Q(1) = Q'(1) = C'(1) = 1 and C''(1) = tau/depth.

Q maps the mean square of a pre-activation to that of the next one, C the cosine between two
inputs: Q(q) = E f(sqrt(q) z)^2, C'(1) = E f'(z)^2, C''(1) = E f''(z)^2 at unit length, z ~ N(0, 1).
Without skips, C'(1) of the whole net is the product over its layers, and where each C'(1) is one,
C''(1) the sum: hence the root and the share of the depth.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from unvanish.errors import BadInput
from unvanish.nn.gaussian import Activation, Readings, bends_sharply, examine, in_float64, read

_SCALES = (2.0, 1.0, 0.5, 0.25, 0.1, 0.03, 0.01, 0.003)
_SHIFTS = (0.0, 0.3, -0.3, 0.7, -0.7, 1.2, -1.2, 2.0, -2.0, 3.0, -3.0)
# Of the two conditions, relative to what they leave open: a curvature that jumps (ELU) leaves noise.
_EXACT, _ENOUGH = 1e-9, 1e-3
_SOLUTIONS = 2  # starts that must have arrived before the gentlest end is taken


@dataclass(frozen=True, slots=True)
class Transform:
    """``gain * (f(scale * x + shift) + offset)``."""

    scale: float
    shift: float
    gain: float
    offset: float


Point = tuple[float, float]
Residual = Callable[[float, float], tuple[float, float] | None]


def checked_depth(depth: object) -> int:
    """The depth as a whole number of layers; a sentence where it cannot be one."""
    if isinstance(depth, bool) or not isinstance(depth, int) or depth < 1:
        raise BadInput(f"depth must be a positive whole number of layers, not {depth!r}")
    return depth


def shape_kernel(function: Activation, depth: int, zeta: float) -> Transform:
    """The transform of deep kernel shaping for a net of this depth."""
    if not 1 < zeta < math.inf:
        raise BadInput(f"zeta must be finite and above one, not {zeta!r}")
    return _remembered(_shape_kernel, in_float64(function), checked_depth(depth), zeta)


def tailor(function: Activation, depth: int, tau: float) -> Transform:
    """The tailored transform of a smooth activation for a net of this depth."""
    if not 0 < tau < math.inf:
        raise BadInput(f"tau must be finite and positive, not {tau!r}")
    return _remembered(_tailor, in_float64(function), checked_depth(depth), tau)


def _shape_kernel(function: Activation, depth: int, zeta: float) -> Transform:
    fine = _require_smooth(function)
    room = math.expm1(math.log(zeta) / depth)

    def residual(log_scale: float, shift: float) -> Point | None:
        scale = math.exp(log_scale)
        readings = read(function, scale, shift, fine=fine)
        if not _usable(readings):
            return None
        bent = readings.slope_square * scale**2 / readings.variance - 1
        pull = readings.pull * scale / readings.variance - 1
        return (math.log(bent / room), pull / room) if bent > 0 else None

    solutions = _solve(residual)
    if not solutions:
        raise BadInput(
            f"no scale and shift of this activation has C'(1) = {1 + room:.6g} with Q'(1) = 1, "
            f"which depth {depth} asks for: try TailoredActivation, or a smaller zeta"
        )
    scale, shift = _gentlest(solutions)
    readings = read(function, scale, shift, fine=fine)
    return Transform(scale, shift, readings.variance**-0.5, -readings.mean)


def _tailor(function: Activation, depth: int, tau: float) -> Transform:
    fine = _require_smooth(function)
    bend, sign = tau / depth, 1.0
    solutions = _solve(_tailored_residual(function, bend, sign, fine=fine))
    if not solutions:
        sign = -1.0
        solutions = _solve(_tailored_residual(function, bend, sign, fine=fine))
    if not solutions:
        raise BadInput(
            f"no scale and shift of this activation has C''(1) = {bend:.3g} with Q'(1) = 1, "
            f"which depth {depth} asks for: try ShapedActivation, or a smaller tau"
        )
    scale, shift = _gentlest(solutions)
    readings = read(function, scale, shift, fine=fine)
    offset = sign * _left_over(readings, scale) - readings.mean
    return Transform(scale, shift, readings.slope_square**-0.5 / scale, offset)


def _tailored_residual(function: Activation, bend: float, sign: float, *, fine: bool) -> Residual:
    def residual(log_scale: float, shift: float) -> Point | None:
        scale = math.exp(log_scale)
        readings = read(function, scale, shift, bent=True, fine=fine)
        if not _usable(readings) or readings.bend_square <= 0:
            return None
        mean = sign * _left_over(readings, scale)  # of f + offset: what Q(1) = 1 asks for
        whole = readings.slope_square * scale**2  # 1 / gain^2
        pull = (readings.pull + mean * readings.slope_pull) * scale / whole - 1
        bent = readings.bend_square * scale**4 / whole
        return math.log(bent / bend), pull / bend

    return residual


def _require_smooth(function: Activation) -> bool:
    """Raises BadInput where the slope jumps; whether the curvature does."""
    if examine(function):
        raise BadInput(
            "the slope of the activation jumps, which no scale and shift can smooth: "
            "use TailoredLeakyReLU for the ReLU family"
        )
    return bends_sharply(function)


_known: dict[tuple[object, ...], Transform] = {}


def _remembered(
    solve: Callable[[Activation, int, float], Transform],
    function: Activation,
    depth: int,
    amount: float,
) -> Transform:
    """Solved once for each activation of torch, however many layers ask."""
    plain = type(function).__module__ == "torch.nn.modules.activation"
    if not plain or next(iter(getattr(function, "parameters")()), None) is not None:  # noqa: B009
        return solve(function, depth, amount)
    key = (solve, type(function), repr(function), depth, amount)
    if key not in _known:
        _known[key] = solve(function, depth, amount)
    return _known[key]


def _left_over(readings: Readings, scale: float) -> float:
    """Mean of the transformed activation before its gain; real by Poincare's inequality."""
    return math.sqrt(max(readings.slope_square * scale**2 - readings.variance, 0.0))


def _usable(readings: Readings) -> bool:
    numbers = (readings.mean, readings.variance, readings.slope_square, readings.bend_square)
    return all(map(math.isfinite, numbers)) and readings.variance > 0 < readings.slope_square


def _solve(residual: Residual) -> list[Point]:
    """Places (scale, shift) where both residuals vanish, or none.

    Newton from the best scale for a shift, given up where it slows down; patiently only where
    that finds nothing (a curvature that jumps, as ELU's, makes slow going).
    """
    starts: list[Point] = []
    for shift in _SHIFTS:
        row = [(math.log(scale), shift) for scale in _SCALES]
        starts.append(min(row, key=lambda start: _size(residual(*start))))
    for slow in (0.9, 0.9999):
        solutions: list[Point] = []
        for start in starts:
            end = _newton(residual, start, slow)
            if end is not None:
                solutions.append((math.exp(end[0]), end[1]))
            if len(solutions) == _SOLUTIONS:
                break
        if solutions:
            return solutions
    return []


def _gentlest(solutions: list[Point]) -> Point:
    """The one with the smallest shift (positive on a tie): furthest from the flat tails."""
    return min(solutions, key=lambda point: (round(abs(point[1]), 5), -point[1]))


def _size(value: Point | None) -> float:
    return math.inf if value is None else math.hypot(*value)


def _newton(residual: Residual, start: Point, slow: float) -> Point | None:
    here, value = start, residual(*start)
    for _ in range(25):
        if value is None:
            return None
        if _size(value) < _EXACT:
            return here
        step = _newton_step(residual, here, value)
        if step is None:
            break
        size = _size(value)
        here, value = _backtracked(residual, here, value, step)
        if _size(value) > slow * size:
            break
    return here if _size(value) < _ENOUGH else None


def _newton_step(residual: Residual, here: Point, value: Point) -> Point | None:
    """Solves the two linearised equations; derivatives by central differences."""
    width = 1e-5
    columns: list[Point] = []
    for axis in (0, 1):
        ahead, behind = list(here), list(here)
        ahead[axis] += width
        behind[axis] -= width
        up, down = residual(*ahead), residual(*behind)
        if up is None or down is None:
            return None
        columns.append(((up[0] - down[0]) / (2 * width), (up[1] - down[1]) / (2 * width)))
    (a, c), (b, d) = columns
    determinant = a * d - b * c
    if determinant == 0 or not math.isfinite(determinant):
        return None
    step = (b * value[1] - d * value[0]) / determinant, (c * value[0] - a * value[1]) / determinant
    longest = max(abs(step[0]), abs(step[1]), 1.0)  # at most a factor e, or a shift by one
    return step[0] / longest, step[1] / longest


def _backtracked(residual: Residual, here: Point, value: Point, step: Point) -> tuple[Point, Point]:
    share = 1.0
    for _ in range(12):
        there = (here[0] + share * step[0], here[1] + share * step[1])
        found = residual(*there)
        if found is not None and _size(found) < _size(value):
            return there, found
        share /= 2
    return here, value
