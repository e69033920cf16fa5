"""The four-part gate: is the signal's scale kept, the gradient's, and do samples stay apart?

Flat norms are not enough. A deep ReLU net at He's scale keeps signal and gradient and still does
not train, because all samples come to point the same way; a tanh net with large weights does the
opposite and makes neighbours strangers. Both show in the angles between the samples of one batch.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unvanish.signals import l2
from unvanish.trace import Gate, Layer

SAMPLES, FEATURES, DIRECTIONS = 32, 1024, 10
"""What one reading looks at: so many samples, of each so many entries; and the directions kept."""
MOST_LIKENESSES = 4096
"""Calls whose likeness between samples is kept (8 KiB each): the rest are steps of a long loop."""


class Samples:
    """Some samples of one output, whose likeness is asked for later, if at all.

    They are kept themselves where they take no more room than their Gram matrix would: most
    operations are no layer's output, and nobody asks for theirs.
    """

    __slots__ = ("_gram", "_rows")

    def __init__(self, output: Tensor) -> None:
        self._gram: Tensor | None = None
        self._rows: Tensor | None = None
        if output.dim() < 2 or output.shape[0] < 3 or not output.numel():
            return
        rows = output.detach()[:SAMPLES].reshape(min(output.shape[0], SAMPLES), -1)
        rows = rows[:, :: max(rows.shape[1] // FEATURES, 1)]
        if rows.nbytes <= 8 * len(rows) ** 2:
            self._rows = rows.clone()
        else:
            self._gram = _gram(rows)

    @property
    def gram(self) -> Tensor | None:
        """Gram matrix of the samples' unit vectors after their mean is taken off, over their number.

        Its trace is the share of the unit vectors' energy that differs between samples (1 minus the
        mean cosine), its eigenvalues that of each direction in which they differ. Samples are taken
        from the front, so that a batch given twice reads as it did.
        """
        return self._gram if self._rows is None else _gram(self._rows)


def _gram(rows: Tensor) -> Tensor | None:
    rows = rows.abs().double() if rows.is_complex() else rows.double()
    lengths = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    if not bool(((lengths > 0) & lengths.isfinite()).all()):
        return None  # a sample without a direction has no angle to the others
    units = rows / lengths
    units = units - units.mean(0, keepdim=True)
    return (units @ units.T / len(units)).cpu()


def directions(gram: Tensor) -> tuple[float, ...]:
    """Energy share of each direction in which the samples differ, the strongest first."""
    values = torch.linalg.eigvalsh(gram).flip(0).clamp_min(0)
    return tuple(values[:DIRECTIONS].tolist())


def gate(layers: Sequence[Layer], outputs: int | None) -> Gate | None:
    """The readings at both ends of the trunk, from those of its layers.

    The head is left out: it is fed, it feeds nothing, and its outputs are meant to be alike where
    the labels are.
    """
    if len(layers) < 2:
        return None
    near, far = layers[1], layers[-1]
    return Gate(
        forward_decades=_ratio(near.output_rms, far.output_rms),
        backward_decades=_ratio(far.norm, near.norm),
        sensitivity_decades=_ratio(far.sensitivity, near.sensitivity),
        cosine_first=None if far.difference is None else 1 - far.difference,
        cosine_last=None if near.difference is None else 1 - near.difference,
        directions_first=effective_number(far),
        directions_last=effective_number(near),
        outputs=outputs,
    )


def _ratio(over: float | None, under: float | None) -> float | None:
    if not over or not under or not math.isfinite(over / under):
        return None
    return math.log10(over / under)


def effective_number(layer: Layer) -> float | None:
    """In how many directions the samples differ: the inverse participation ratio of the energies."""
    if not layer.difference or not layer.directions:
        return None
    largest = max(layer.directions)
    if not largest:
        return None
    shares = [value / largest for value in layer.directions]
    # What lies beyond the kept directions is spread thin: its squares do not count.
    return (layer.difference / largest) ** 2 / math.fsum(share**2 for share in shares)


def singular_value_spread(model: nn.Module, inputs: Tensor, probes: int = 4) -> float | None:
    """Standard deviation of ln(singular value) of d outputs / d inputs, one sample at a time.

    With random signs u on the outputs, v = J^T u has E|v|^2 = tr JJ^T and J v has
    E|Jv|^2 = tr (JJ^T)^2. Over m outputs, m tr (JJ^T)^2 / (tr JJ^T)^2 is 1 for equal singular
    values and exp(4 s^2) for log-normal ones of standard deviation s: s is what is returned.
    Two backward passes a probe. ``None`` for fewer than two outputs a sample.
    """
    inputs = inputs.requires_grad_()
    with torch.enable_grad():
        outputs = model(inputs)
        if not isinstance(outputs, Tensor) or outputs.dim() < 2 or outputs[0].numel() < 2:
            return None
        square, fourth = 0.0, 0.0
        drawn = _signs(outputs, probes)
        # J^T u is linear in u: the graph of the first one, differentiated by u, gives every J v.
        first = drawn[0].requires_grad_()
        (back,) = torch.autograd.grad(outputs, inputs, first, create_graph=True)
        for signs in drawn:
            image = back.detach()
            if signs is not first:
                (image,) = torch.autograd.grad(outputs, inputs, signs, retain_graph=True)
            # Scaled to length one, as squares of a vanished gradient are zero in float32.
            length = l2(image)
            if not 0 < length < math.inf:
                return None
            direction = (image.double() / length).to(image)
            (forth,) = torch.autograd.grad(back, first, direction, retain_graph=True)
            square += length**2
            fourth += l2(forth.detach()) ** 2 * length**2
    per_sample = outputs[0].numel()
    samples = outputs.shape[0]
    ratio = per_sample * samples * (fourth / probes) / (square / probes) ** 2
    return math.sqrt(math.log(ratio)) / 2 if ratio > 1 else 0.0


def _signs(like: Tensor, count: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    draws = (torch.randint(2, like.shape, generator=generator) for _ in range(count))
    return [draw.to(like) * 2 - 1 for draw in draws]
