"""A plain training loop that reads its own steps, in float64 and independently of the watcher."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from unvanish.recording import StepReading, TensorEntry
from unvanish.recording.statistics import HISTOGRAM_BINS, LOWEST_EXPONENT


@dataclass(kw_only=True)
class Training:
    """``loss(step)`` is called once a step (``accumulate`` times); ``change(step)`` before it.

    ``rate(step)`` multiplies the optimizer's learning rate. ``every``: steps between readings of
    weights, updates and histogram. ``scaler``: a torch.amp.GradScaler. ``tells_loss``: the loss is
    in the readings. ``after`` is called when the step was taken and read.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    loss: Callable[[int], Tensor]
    change: Callable[[int], object] = lambda step: None
    after: Callable[[int], object] = lambda step: None
    rate: Callable[[int], float] | None = None
    clip: float | None = None
    accumulate: int = 1
    every: int = 10
    scaler: torch.amp.GradScaler | None = None
    tells_loss: bool = True

    def tensors(self) -> list[TensorEntry]:
        return [
            TensorEntry(name=name, shape=tuple(p.shape), dtype=str(p.dtype).removeprefix("torch."))
            for name, p in self.model.named_parameters()
        ]

    def readings(self, steps: int) -> Iterator[StepReading]:
        """Train; one reading a step."""
        for step in range(steps):
            self.change(step)
            for group in self.optimizer.param_groups:
                base = group.setdefault("full_rate", group["lr"])
                group["lr"] = base * (self.rate(step) if self.rate else 1.0)
            yield self._step(step)
            self.after(step)

    def _step(self, step: int) -> StepReading:
        self.optimizer.zero_grad()
        total = 0.0
        for _ in range(self.accumulate):
            loss = self.loss(step) / self.accumulate
            total += float(loss.detach())
            (self.scaler.scale(loss) if self.scaler else loss).backward()
        scalars = {"learning_rate": self.optimizer.param_groups[0]["lr"]}
        if self.tells_loss:
            scalars["loss"] = total
        parameters = list(self.model.parameters())
        if self.scaler:
            scalars["loss_scale"] = self.scaler.get_scale()
            self.scaler.unscale_(self.optimizer)
        if self.clip is not None:
            norm = float(nn.utils.clip_grad_norm_(parameters, self.clip))
            scalars["clip_factor"] = min(1.0, self.clip / (norm + 1e-6))
        values = moments(parameters)
        scalars["gradient_l2"] = float(np.sqrt(np.nansum(values["gradient_l2"] ** 2)))
        wide = step % self.every == 0
        histogram = histograms(parameters) if wide else None
        before = [p.detach().double().numpy().copy() for p in parameters] if wide else []
        if self.scaler:
            self.scaler.step(self.optimizer)
            self.scaler.update()
            bad = bool(np.nansum(values["gradient_nonfinite"]))
            scalars["skipped"] = float(bad)
        else:
            self.optimizer.step()
        if wide:
            values |= changes(parameters, before)
        return StepReading(
            step=step,
            seconds=step * 0.1,
            stage="unscaled before-clipping whole",
            values={key: value.astype(np.float32) for key, value in values.items()},
            histogram=histogram,
            scalars=scalars,
        )


def moments(parameters: list[nn.Parameter]) -> dict[str, np.ndarray]:
    """What is read of every gradient at every step; NaN where there is none."""
    names = "l2 rms mean abs_max zeros nonfinite".split()
    rows = []
    for parameter in parameters:
        if parameter.grad is None:
            rows.append([np.nan] * len(names))
            continue
        gradient = parameter.grad.detach().to_dense().double().numpy().ravel()
        finite = gradient[np.isfinite(gradient)]
        l2 = np.sqrt((finite**2).sum())
        rows.append(
            [
                l2,
                l2 / np.sqrt(max(gradient.size, 1)),
                finite.mean() if finite.size else 0.0,
                np.abs(finite).max(initial=0.0),
                float((gradient == 0).sum()),
                float(gradient.size - finite.size),
            ]
        )
    columns = np.array(rows).T
    return {f"gradient_{name}": column for name, column in zip(names, columns, strict=True)}


def histograms(parameters: list[nn.Parameter]) -> np.ndarray:
    """Entries in each octave of magnitude."""
    counts = np.zeros((len(parameters), HISTOGRAM_BINS), dtype=np.uint32)
    for place, parameter in enumerate(parameters):
        if parameter.grad is None:
            continue
        entries = np.abs(parameter.grad.detach().to_dense().double().numpy().ravel())
        entries = entries[np.isfinite(entries) & (entries > 0)]
        octaves = np.floor(np.log2(entries)).astype(int) - LOWEST_EXPONENT
        np.add.at(counts[place], np.clip(octaves, 0, HISTOGRAM_BINS - 1), 1)
    return counts


def changes(parameters: list[nn.Parameter], before: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Size of each weight before the step, and what the step changed of it."""
    rms, update = [], []
    with np.errstate(all="ignore"):
        for parameter, old in zip(parameters, before, strict=True):
            new = parameter.detach().double().numpy()
            norm = np.sqrt((old**2).sum())
            rms.append(norm / np.sqrt(old.size))
            ratio = np.sqrt(((new - old) ** 2).sum()) / norm
            update.append(ratio if norm > 0 else np.nan)  # as a recording has it
    return {"weight_rms": np.array(rms), "update_to_weight": np.array(update)}
