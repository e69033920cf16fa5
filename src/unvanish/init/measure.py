"""The gate before and after, and what it costs."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from unvanish.batches import Forward, Loss, is_pair, split_batch
from unvanish.errors import ModelFailed
from unvanish.init.report import Readings
from unvanish.preserve import preserved
from unvanish.probe.compiled import eager
from unvanish.probe.gate import singular_value_spread
from unvanish.probe.observe import observe
from unvanish.trace import Trace
from unvanish.twins import twin_of

FORWARD, BACKWARD, SECOND = 1 / 3, 2 / 3, 4 / 3
_SHARE, _FEWEST, _MOST, _PROBES = 4, 4, 16, 1
"""The spread is read on a quarter of the batch, which makes its passes a quarter as dear."""


class Meter:
    """Looks at the model and counts the passes."""

    def __init__(
        self, model: nn.Module, batch: Any, loss: Loss | None, forward: Forward | None, seed: int
    ) -> None:
        self._model, self._batch, self._loss = model, batch, loss
        self._forward, self._seed = forward, seed
        self.passes = 0.0

    def observe(self) -> Trace:
        """One observation."""
        self.passes += FORWARD + BACKWARD
        return observe(self._model, [self._batch], self._loss, self._forward, self._seed)

    def readings(self, trace: Trace) -> Readings:
        """The gate of this trace with the spread of singular values."""
        far = trace.layers[-1].norm if trace.layers else None
        arrives = not trace.layers or bool(far)
        return Readings(
            gate=trace.gate if len(trace.layers) > 2 else None,
            spread=self._spread(),
            loss=trace.conditions.loss,
            arrives=arrives,
            normed=any(layer.decades.get("norm") for layer in trace.layers[1:]),
        )

    def run(self) -> None:
        """The forward pass alone, the way that the observation took it."""
        self.passes += FORWARD
        with preserved(self._model, self._seed), eager(), torch.no_grad():
            if self._forward is not None:
                self._forward(self._model, self._batch)
                return
            inputs = split_batch(self._batch)[0]
            if isinstance(inputs, Mapping):
                self._model(**inputs)
            elif isinstance(inputs, tuple):
                self._model(*inputs)
            else:
                self._model(inputs)

    def inputs(self) -> Tensor | None:
        """The inputs where they are one float tensor."""
        if self._forward is not None or not is_pair(self._batch):
            return None
        found = split_batch(self._batch)[0]
        return found if isinstance(found, Tensor) and found.is_floating_point() else None

    def _spread(self) -> float | None:
        inputs = self.inputs()
        if inputs is None:
            return None
        try:
            twin = twin_of(self._model)
            with preserved(twin, self._seed), eager():
                count = min(max(len(inputs) // _SHARE, _FEWEST), _MOST, len(inputs))
                dear = FORWARD + _PROBES * (BACKWARD + SECOND)
                self.passes += dear * count / len(inputs)
                return singular_value_spread(twin, inputs.detach()[:count].clone(), _PROBES)
        except (RuntimeError, TypeError, NotImplementedError, ModelFailed, ValueError):
            return None  # a model that cannot be copied, or not be differentiated twice
