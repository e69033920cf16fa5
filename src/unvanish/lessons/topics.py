"""The course: what is taught, in order, with the programs and the lab's pages that show it."""

from dataclasses import dataclass

from unvanish.languages import marked
from unvanish.lessons import ALL


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """One subject.

    ``lessons`` are pages of ``unvanish.lessons`` (each a program, a page of the docs and a guided
    page of the lab), ``moves`` names of guided pages of the lab that move its sliders.
    """

    title: str
    lessons: tuple[str, ...]
    moves: tuple[str, ...] = ()


_NAMED: tuple[Topic, ...] = (
    Topic(
        title=marked("What a gradient is, and the update rule"),
        moves=("update-rule",),
        lessons=("step-too-small", "step-too-large", "not-in-optimizer", "wrong-sign"),
    ),
    Topic(
        title=marked("The product law: why 1/4 and 1 matter"),
        moves=("quarter-and-one",),
        lessons=("depth-decay",),
    ),
    Topic(title=marked("Depth"), moves=("depth",), lessons=("depth-decay", "no-nonlinearity")),
    Topic(
        title=marked("Initial values: too small, too large, Xavier, He, critical, mirrored"),
        moves=("initialisation", "xavier-and-he", "critical"),
        lessons=("init-too-small", "init-too-large", "symmetric-init", "stuck-saddle", "mirrored"),
    ),
    Topic(
        title=marked("Saturation and the flat range"),
        moves=("saturation",),
        lessons=("saturated-activation", "unscaled-input"),
    ),
    Topic(
        title=marked("ReLU, dead units, and leaky kin: LeakyReLU, GELU, SiLU"),
        moves=("leaky", "silu"),
        lessons=("dead-units", "leaky-kin"),
    ),
    Topic(
        title=marked("Batch norm, and its own explosion"),
        moves=("batch-norm", "norm-and-skip"),
        lessons=("batch-norm",),
    ),
    Topic(title=marked("A way around: skips"), moves=("skip",), lessons=("residual",)),
    Topic(
        title=marked("Recurrence, LSTM and GRU, and why that alone is no cure"),
        moves=("lstm-alone", "open-gates"),
        lessons=("time-decay", "time-growth"),
    ),
    Topic(
        title=marked("Explosion, NaN, clipping"),
        moves=("explosion", "clipping"),
        lessons=(
            "depth-growth",
            "nonfinite-forward",
            "nonfinite-backward",
            "always-clipped",
            "clip-before-unscale",
            "loss-scale-collapse",
        ),
    ),
    Topic(title=marked("Transformers: norm before or after"), lessons=("post-norm-depth",)),
    Topic(
        title=marked("None, zero and tiny: the wiring"),
        lessons=(
            "wiring",
            "detached",
            "frozen-by-checkpoint",
            "nothing-trainable",
            "unregistered-module",
            "half-precision-underflow",
        ),
    ),
    Topic(title=marked("False alarms"), lessons=("false-alarms", "blind-spot")),
    Topic(
        title=marked("Level, and still untrainable"),
        moves=("flat-and-untrainable",),
        lessons=("collapsed-signal", "chaotic-signal"),
    ),
    Topic(
        title=marked("Activations and blocks that keep the scale by themselves"),
        moves=("tailored", "gated"),
        lessons=("adaptive", "self-regulating"),
    ),
    Topic(title=marked("Ten thousand layers"), moves=("two-hundred",), lessons=("ten-thousand",)),
    Topic(title=marked("A real detector"), lessons=("detector",)),
)


def _rest() -> tuple[str, ...]:
    named = {page for topic in _NAMED for page in topic.lessons}
    return tuple(one.page for one in ALL if one.page not in named)


TOPICS: tuple[Topic, ...] = (
    *_NAMED,
    Topic(title=marked("Losses, labels, number formats, the training loop"), lessons=_rest()),
)
"""All of the course; the last one is what the others do not name."""
