"""What each parameter got: gradient statistics of one batch, mean and spread over several."""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from unvanish.signals import Measure, l2, largest, measure, units_equal


@dataclass(slots=True)
class ParameterGradient:
    """Readings of one parameter over the batches so far; ``total`` only where there are several."""

    parameter: Tensor
    names: list[str]
    measures: list[Measure | None] = field(default_factory=list["Measure | None"])
    largest: float | None = None
    total: Tensor | None = None
    equal_units: bool = False
    equal_gradients: bool = False

    @property
    def norms(self) -> list[float]:
        return [m.norm for m in self.measures if m is not None]

    @property
    def spread(self) -> float | None:
        """Standard deviation over mean of the gradient norm."""
        norms = self.norms
        mean = math.fsum(norms) / len(norms) if norms else 0.0
        if len(norms) < 2 or mean == 0:
            return None
        return math.sqrt(math.fsum((n - mean) ** 2 for n in norms) / (len(norms) - 1)) / mean

    @property
    def snr(self) -> float | None:
        """|mean gradient| over the standard error of that mean, over batches.

        With B batches: sqrt(B |m|^2 / s^2), m the mean vector, s^2 the summed sample variance.
        """
        norms = self.norms
        count = len(norms)
        if count < 2 or self.total is None:
            return None
        mean_square = (l2(self.total) / count) ** 2
        variance = (math.fsum(n**2 for n in norms) - count * mean_square) / (count - 1)
        return math.sqrt(count * mean_square / variance) if variance > 0 else None


class GradientReader:
    """Reads ``.grad`` after each batch and clears it; or reads gradients as they arrive.

    In a running training ``.grad`` is not ours to clear, and may hold what other passes left.
    """

    def __init__(self, model: nn.Module) -> None:
        self.readings: dict[int, ParameterGradient] = {}
        for name, parameter in model.named_parameters(remove_duplicate=False):
            reading = self.readings.get(id(parameter))
            if reading is None:
                self.readings[id(parameter)] = ParameterGradient(parameter, [name])
            elif name not in reading.names:
                reading.names.append(name)

    def read(self, known: dict[str, Measure]) -> None:
        """Take the gradients of one batch; ``None`` stays ``None``.

        ``known`` holds figures, by parameter name, that were measured when the gradient arrived.
        """
        for reading in self.readings.values():
            gradient = reading.parameter.grad
            reading.parameter.grad = None
            figure = known.get(reading.names[0])
            reading.measures.append(self._measure(reading, gradient, figure))

    def arrive(self, leaf: Tensor, gradient: Tensor) -> None:
        """Look at a gradient that is about to be added to ``.grad``; it is not kept."""
        reading = self.readings.get(id(leaf))
        if reading is not None:
            first = reading.largest is None
            reading.largest = max(reading.largest or 0.0, largest(gradient))
            reading.equal_gradients = (first or reading.equal_gradients) and units_equal(gradient)

    def arrive_whole(self, leaf: Tensor, gradient: Tensor) -> None:
        """The whole gradient of a leaf at which it arrived in parts."""
        reading = self.readings.get(id(leaf))
        if reading is not None:
            reading.largest = None
            self.arrive(leaf, gradient)

    def settle(self, known: dict[str, Measure], scale: float) -> None:
        """Take the figures of the pass whose gradients arrived, which were multiplied by ``scale``."""
        for reading in self.readings.values():
            reading.measures.append(known.get(reading.names[0]))
            if reading.largest is not None:
                reading.largest /= scale

    def _measure(
        self, reading: ParameterGradient, gradient: Tensor | None, figure: Measure | None
    ) -> Measure | None:
        if gradient is None:
            return None
        figure = figure or measure(gradient)
        reading.largest = max(reading.largest or 0.0, largest(gradient))
        first = len(reading.measures) == 0
        reading.equal_gradients = (first or reading.equal_gradients) and units_equal(gradient)
        with torch.no_grad():
            dense = gradient.detach() if gradient.layout == torch.strided else gradient.to_dense()
            reading.total = dense if reading.total is None else reading.total + dense
        return figure

    def any_nonfinite(self) -> bool:
        """Whether the last batch poisoned any parameter."""
        last = [r.measures[-1] for r in self.readings.values() if r.measures]
        return any(figure is not None and figure.nonfinite for figure in last)
