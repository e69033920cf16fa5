"""Experiments on a copy: what would happen if. The user's model is never stepped."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from unvanish.batches import (
    Forward,
    Loss,
    compute_loss,
    map_tensors,
    split_batch,
    take_batches,
    tensors_in,
)
from unvanish.errors import UnvanishError
from unvanish.experiments.altered_data import Scale, out_of_reach, scale_of, shuffled, standardized
from unvanish.experiments.followed import follows, redraw
from unvanish.experiments.held_out import HeldOut, ask, split_samples
from unvanish.experiments.initial_weights import draw_again, make_neutral
from unvanish.experiments.laboratory import Laboratory
from unvanish.experiments.rehearsal import EVALUATED, Rehearsal, mean_loss, rehearse
from unvanish.preserve import preserved, seeded
from unvanish.probe.gate import singular_value_spread
from unvanish.probe.observe import eager, observe, unwrapped
from unvanish.theory import critical_weight_decades
from unvanish.trace import Activation, Trace
from unvanish.training.loss_of_step import Step
from unvanish.training.optimizer_copy import OptimizerFactory, copied_optimizer, set_options
from unvanish.training.reached import kept, reached
from unvanish.training.record import LoopRecord
from unvanish.training.recorder import LoopRecorder
from unvanish.twins import twin_of

FEWEST_CALLS = 4
"""Calls of a user's step that show what one does to the next, whatever ``steps`` says."""
FEWEST_STEPS = 20
"""Fewer steps than this teach nothing that could carry over."""


class Bench(Laboratory):
    """The laboratory of one diagnosis; remembers what was tried and what could not be.

    ``allowed`` is how many real steps the user granted. Experiments share twice that number:
    one rehearsal as the program stands and one round of what-ifs. With an optimizer one single
    step is tried even when none were granted: it costs less than a second look.
    """

    def __init__(
        self,
        model: nn.Module,
        data: Any,
        loss: Loss | None,
        forward: Forward | None,
        optimizer: torch.optim.Optimizer | OptimizerFactory | None,
        seed: int,
        allowed: int = 0,
        step: Step | None = None,
    ) -> None:
        self._model = unwrapped(model)[0]
        self._step = step
        self._reached = reached(step) if step is not None else []
        self._data, self._loss, self._forward = data, loss, forward
        self._optimizer, self._seed = optimizer, seed
        self._kept: dict[tuple[Any, ...], Any] = {}
        self.allowed = allowed
        self.has_optimizer = optimizer is not None
        self.failures: list[str] = []
        self.tried: list[str] = []

    def after_steps(self, steps: int) -> Trace | None:
        """The trace of a copy after real optimizer steps; run once for each number of steps.

        With no optimizer given, Adam at its default step: it moves every weight that gets any
        gradient by the same small amount, so what stays put got none.
        """

        def experiment() -> Trace:
            twin, optimizer = self._twin(self._optimizer)
            self._rehearse(twin, optimizer, steps)
            return observe(twin, self._data, self._loss, self._forward, self._seed)

        return self._try(("after", steps), f"{steps} steps on a copy, observed again", experiment)

    def rehearsal(
        self,
        *,
        rate: float = 1.0,
        decay: bool = True,
        momentum: bool = True,
        share: float = 1.0,
        scaled: str | None = None,
        factors: Mapping[str, float] | None = None,
    ) -> Rehearsal | None:
        """Real steps with a copy of the user's own optimizer.

        Args:
            rate: factor on every group's learning rate.
            decay: keep weight decay.
            momentum: keep momentum (``False``: a group's ``momentum`` and first beta are zero).
            share: of the granted steps to take (at least one).
            scaled: ``"inputs"`` or ``"targets"``: bring these to zero mean and unit variance.
            factors: what to multiply parameters by before the first step, by name.

        Returns:
            The record; ``None`` without an optimizer, or where the steps could not be taken.
        """
        if not self.has_optimizer:
            return None
        steps = max(1, round(self.allowed * share))

        def experiment() -> Rehearsal:
            twin, optimizer = self._twin(self._optimizer)
            with torch.no_grad():
                for name, factor in (factors or {}).items():
                    twin.get_parameter(name).mul_(factor)
            set_options(optimizer, rate, decay, momentum)
            return self._rehearse(twin, optimizer, steps, scaled)

        said = f"{steps} steps" + ("" if rate == 1 else f" at {rate:g} times the step size")
        said += "" if decay else " without weight decay"
        said += "" if momentum else " without momentum"
        said += f" with scaled {scaled}" if scaled else ""
        said += f" with {len(factors)} weight tensors scaled" if factors else ""
        key = ("rehearsal", rate, decay, momentum, steps, scaled, *sorted((factors or {}).items()))
        return self._try(key, said, experiment)

    def with_inputs_scaled(self) -> Trace | None:
        """The trace with every float input brought to zero mean and unit variance."""

        def experiment() -> Trace:
            scaled = [standardized(batch, "inputs") for batch in self._batches(1)]
            return observe(self._model, scaled, self._loss, self._forward, self._seed)

        return self._try(("inputs",), "inputs scaled to zero mean and unit variance", experiment)

    def with_neutral_init(self, activations: Sequence[Activation]) -> Trace | None:
        """The trace of a copy with weights that neither amplify nor attenuate."""

        def experiment() -> Trace:
            variances = {
                a.fed_by: 100 ** critical_weight_decades(a.function)
                for a in activations
                if a.fed_by is not None
            }
            twin = twin_of(self._model)
            with seeded(self._seed):
                make_neutral(twin, variances)
            return observe(twin, self._batches(1), self._loss, self._forward, self._seed)

        return self._try(("neutral",), "neutral initialisation", experiment)

    def with_weights_redrawn(self, seed: int) -> Trace | None:
        """The trace of a copy with the entries of every weight tensor in another order."""

        def experiment() -> Trace:
            twin = twin_of(self._model)
            draw_again(twin, seed)
            return observe(twin, self._batches(1), self._loss, self._forward, self._seed)

        return self._try(("redrawn", seed), "weights in another order", experiment)

    def data_scale(self, part: str) -> Scale | None:
        """Scale of the float values of the first batch's ``"inputs"`` or ``"targets"``."""
        return scale_of(self._floats(part))

    def out_of_reach(self, low: float, high: float) -> float | None:
        """Share of the float targets' variance that no output between two bounds can meet."""
        return out_of_reach(self._floats("targets"), low, high)

    def _floats(self, part: str) -> list[Tensor]:
        (batch,) = self._batches(1)
        pair = cast(tuple[Any, ...], batch) if isinstance(batch, tuple) else (batch,)
        chosen = pair[0] if part == "inputs" else pair[1:]
        return [t for t in tensors_in(chosen) if t.is_floating_point() and t.numel()]

    def shuffled_ratio(self) -> float | None:
        """Loss over the loss with targets given to the wrong samples: near 1 for who knows nothing.

        Free of the scale of the loss. ``None`` where batches are not (inputs, targets) pairs with
        tensors of targets, or a loss is not positive.
        """

        def experiment() -> float | None:
            (batch,) = self._batches(1)
            if self._forward is not None or not isinstance(batch, tuple):
                return None
            inputs, targets = split_batch(cast(Any, batch))
            if not tensors_in(targets):
                return None
            twin = twin_of(self._model)
            with preserved(self._model, self._seed), eager():
                known = mean_loss(twin, [(inputs, targets)], self._loss_of)
                wrong = mean_loss(twin, [(inputs, map_tensors(targets, shuffled))], self._loss_of)
            return known / wrong if known > 0 and wrong > 0 else None

        return self._try(("shuffled",), "the loss with shuffled targets", experiment)

    def loss_follows(self, names: Sequence[str]) -> bool | None:
        """Whether the loss changes when these parameters of a copy are given other values."""

        def experiment() -> bool:
            twin = twin_of(self._model)
            (batch,) = self._batches(1)

            def loss() -> float:
                with preserved(twin, self._seed), eager():
                    return mean_loss(twin, [batch], self._loss_of)

            with seeded(self._seed):
                return follows(loss, lambda: redraw(twin, names))

        return self._try(("follows", *names), "other values for what gets no gradient", experiment)

    def jacobian_spread(self) -> float | None:
        """How far the singular values of d outputs / d inputs lie apart, from a few products.

        Standard deviation of their natural logarithm (0: all alike), see
        :func:`unvanish.probe.gate.singular_value_spread`. ``None`` where the inputs are not one
        float tensor or the outputs not one.
        """

        def experiment() -> float | None:
            (batch,) = self._batches(1)
            if self._forward is not None or not isinstance(batch, tuple):
                return None
            inputs = split_batch(cast(Any, batch))[0]
            if not isinstance(inputs, Tensor) or not inputs.is_floating_point():
                return None
            twin = twin_of(self._model)
            with preserved(self._model, self._seed), eager():
                return singular_value_spread(twin, inputs.detach().clone())

        return self._try(("jacobian",), "products with the end-to-end Jacobian", experiment)

    def with_loss_scaled(self, factor: float) -> Trace | None:
        """The trace with the loss multiplied by ``factor`` before the backward pass."""

        def forward(model: nn.Module, batch: Any) -> Tensor:
            return factor * compute_loss(model, batch, self._loss, self._forward)

        def experiment() -> Trace:
            return observe(self._model, self._batches(1), forward=forward, seed=self._seed)

        return self._try(("scaled", factor), f"the loss times {factor:g}", experiment)

    def held_out(self) -> HeldOut | None:
        """Train a copy on every other sample of the first batch, then ask about the rest.

        ``None`` with fewer than 20 granted steps, or where samples cannot be told apart.
        """
        if self.allowed < FEWEST_STEPS or not self.has_optimizer or self._forward is not None:
            return None
        (batch,) = self._batches(1)
        if not isinstance(batch, tuple) or self._loss is None:
            return None
        parts = split_samples(*split_batch(cast(Any, batch)))
        if parts is None:
            return None
        loss = self._loss

        def experiment() -> HeldOut:
            twin, optimizer = self._twin(self._optimizer)
            with preserved(self._model, self._seed), eager():
                self._steps(twin, optimizer, [parts[0]], self.allowed, tracked=False)
                return ask(twin, parts[0], parts[1], loss)

        return self._try(("held out",), f"{self.allowed} steps on half of the samples", experiment)

    def loop(
        self,
        *,
        scale_factor: float = 1.0,
        scale_to: float | None = None,
        clip: bool = True,
        divide: float = 1.0,
    ) -> LoopRecord | None:
        """Some calls of the user's own training step on copies, listened to.

        Args:
            scale_factor: what a loss scaler's scale is multiplied by when it is met first.
            scale_to: what it is set to instead.
            clip: ``False``: clipping functions measure and do not clip.
            divide: number that gradients are divided by before each optimizer step.

        Returns:
            The record; ``None`` where no ``step`` was given, or it could not be run.
        """
        step, own = self._step, self._optimizer
        if step is None or own is None:
            return None

        def rescale(scale: float) -> float:
            return scale * scale_factor if scale_to is None else scale_to

        def experiment() -> LoopRecord:
            twin, optimizer = self._twin(own)
            recorder = LoopRecorder(twin, optimizer, rescale=rescale, clip=clip, divide=divide)
            with preserved(self._model, self._seed), eager(), kept(self._reached):
                return self._loop(twin, optimizer, step, recorder)

        said = f"calls of step on a copy, {_described(scale_factor, scale_to, clip, divide)}"
        return self._try(("loop", scale_factor, scale_to, clip, divide), said, experiment)

    def _loop(
        self,
        twin: nn.Module,
        optimizer: torch.optim.Optimizer,
        step: Step,
        recorder: LoopRecorder,
    ) -> LoopRecord:
        least = max(self.allowed, FEWEST_CALLS)
        batches = self._batches(least)
        initial = mean_loss(twin, batches[:EVALUATED], self._loss_of)
        calls = 0
        with recorder:
            # Gradients may be gathered over several calls: two optimizer steps are waited for.
            while calls < least or (len(recorder.steps) < 2 and calls < 8 * least):
                step(twin, optimizer, map_tensors(batches[calls % len(batches)], Tensor.clone))
                calls += 1
        return LoopRecord(
            calls=calls,
            steps=tuple(recorder.steps),
            initial=initial,
            final=mean_loss(twin, batches[:EVALUATED], self._loss_of),
            rate=float(optimizer.param_groups[0]["lr"]),
        )

    def _try(self, key: tuple[Any, ...], said: str, experiment: Callable[[], Any]) -> Any:
        """Run an experiment once; one that raises becomes a blind spot with its reason."""
        if key not in self._kept:
            start = time.perf_counter()
            try:
                self._kept[key] = experiment()
                self.tried.append(f"{said} ({time.perf_counter() - start:.2f} s)")
            except (UnvanishError, RuntimeError, TypeError, ValueError, AttributeError) as error:
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                self.failures.append(f"experiment not possible: {said}: {reason}")
                self._kept[key] = None
        return self._kept[key]

    def _twin(
        self, optimizer: torch.optim.Optimizer | OptimizerFactory | None
    ) -> tuple[nn.Module, torch.optim.Optimizer]:
        twin = twin_of(self._model)
        for parameter in twin.parameters():
            parameter.grad = None
        return twin, copied_optimizer(optimizer, self._model, twin)

    def _rehearse(
        self,
        twin: nn.Module,
        optimizer: torch.optim.Optimizer,
        steps: int,
        scaled: str | None = None,
    ) -> Rehearsal:
        with preserved(self._model, self._seed), eager():
            batches = self._batches(steps)
            if scaled is not None:
                batches = [standardized(batch, scaled) for batch in batches]
            return self._steps(twin, optimizer, batches, steps)

    def _steps(
        self,
        twin: nn.Module,
        optimizer: torch.optim.Optimizer,
        batches: list[Any],
        steps: int,
        tracked: bool = True,
    ) -> Rehearsal:
        """Real steps of a copy, by the user's own training step where there is one."""
        step = self._step
        if step is None:
            return rehearse(twin, optimizer, batches, steps, self._loss_of, tracked=tracked)

        def take(twin: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
            step(twin, optimizer, map_tensors(batch, Tensor.clone))

        with LoopRecorder(twin, optimizer), kept(self._reached):
            return rehearse(twin, optimizer, batches, steps, self._loss_of, take, tracked=tracked)

    def _batches(self, most: int) -> list[Any]:
        return take_batches(self._data, max(most, 1))

    def _loss_of(self, model: nn.Module, batch: Any) -> Tensor:
        # A copy of the batch: in-place code of the model must not write into the user's data.
        own = map_tensors(batch, Tensor.clone)
        return compute_loss(model, own, self._loss, self._forward)


def _described(scale_factor: float, scale_to: float | None, clip: bool, divide: float) -> str:
    parts = [
        "" if scale_factor == 1 else f"the loss scale times {scale_factor:g}",
        "" if scale_to is None else f"the loss scale at {scale_to:g}",
        "" if clip else "without clipping",
        "" if divide == 1 else f"gradients divided by {divide:g}",
    ]
    return ", ".join(part for part in parts if part) or "as it stands"
