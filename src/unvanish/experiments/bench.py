"""Experiments on a copy: what would happen if. The user's model is never stepped."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from unvanish.batches import Forward, Loss
from unvanish.experiments import knowing, looks, wording
from unvanish.experiments.altered_data import Scale, out_of_reach, scale_of
from unvanish.experiments.attempts import Attempts
from unvanish.experiments.held_out import HeldOut, ask, split_samples
from unvanish.experiments.laboratory import Laboratory
from unvanish.experiments.misfit import falls_with_misfit
from unvanish.experiments.mixing import Mixed, mixed_at
from unvanish.experiments.program import Program
from unvanish.experiments.rehearsal import Rehearsal
from unvanish.probe.compiled import unwrapped
from unvanish.trace import Activation, Trace
from unvanish.training.loss_of_step import Step
from unvanish.training.optimizer_copy import OptimizerFactory, begin_anew, lift, set_options
from unvanish.training.record import LoopRecord
from unvanish.training.recorder import LoopRecorder

SHOWN = 20
"""Different batches that a copy is shown, as many are kept back."""
ASKED = 8
"""Batches of each kind that are asked about."""
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
        whole = unwrapped(model)[0]
        self._program = Program(whole, data, loss, forward, optimizer, seed, step)
        self._attempts = Attempts()
        self.allowed = allowed
        self.stepped = self._program.stepped
        self.has_optimizer = optimizer is not None
        self.tried = self._attempts.tried
        self.failures = self._attempts.failures

    @property
    def beside(self) -> list[torch.optim.Optimizer]:
        """Other optimizers of the user's training step."""
        return self._program.beside

    @property
    def loss(self) -> Loss | None:
        """The user's loss function."""
        return self._program.loss

    @property
    def rate_rises(self) -> bool | None:
        return self._program.rate_rises

    def after_steps(self, steps: int) -> Trace | None:
        """The trace of a copy after real optimizer steps; run once for each number of steps.

        With no optimizer given, Adam at its default step: it moves every weight that gets any
        gradient by the same small amount, so what stays put got none.
        """

        def experiment() -> Trace:
            twin, optimizer = self._program.twin()
            self._program.rehearsed(twin, optimizer, steps)
            return self._program.observed(twin)

        return self._attempts.run(
            ("after", steps), f"{steps} steps on a copy, observed again", experiment
        )

    def rehearsal(
        self,
        *,
        rate: float = 1.0,
        decay: bool = True,
        momentum: bool = True,
        share: float = 1.0,
        scaled: str | None = None,
        fresh: bool = False,
        factors: Mapping[str, float] | None = None,
        lifted: Sequence[str] = (),
    ) -> Rehearsal | None:
        """Real steps with a copy of the user's own optimizer; see :meth:`Laboratory.rehearsal`."""
        if not self.has_optimizer:
            return None
        steps = max(1, round(self.allowed * share))
        anew = (fresh or scaled is not None) and self._program.remembers

        def experiment() -> Rehearsal:
            twin, optimizer = self._program.twin(factors)
            if anew:
                begin_anew(optimizer)
            set_options(optimizer, rate, decay, momentum)
            lift(optimizer, [twin.get_parameter(name) for name in lifted])
            return self._program.rehearsed(twin, optimizer, steps, scaled)

        changed = wording.changes(rate, decay, momentum, scaled, anew, factors or (), lifted)
        by_name = (*sorted((factors or {}).items()), *lifted)
        key = ("rehearsal", rate, decay, momentum, steps, scaled, anew, *by_name)
        return self._attempts.run(key, f"{steps} steps" + changed, experiment)

    def with_inputs_scaled(self) -> Trace | None:
        """The trace with every float input brought to zero mean and unit variance."""
        said = "inputs scaled to zero mean and unit variance"
        return self._attempts.run(("inputs",), said, lambda: looks.inputs_scaled(self._program))

    def with_neutral_init(self, activations: Sequence[Activation]) -> Trace | None:
        """The trace of a copy with weights that neither amplify nor attenuate."""
        experiment = lambda: looks.neutral_init(self._program, activations)  # noqa: E731
        return self._attempts.run(("neutral",), "neutral initialisation", experiment)

    def with_weights_redrawn(self, seed: int) -> Trace | None:
        """The trace of a copy with the entries of every weight tensor in another order."""
        experiment = lambda: looks.redrawn(self._program, seed)  # noqa: E731
        return self._attempts.run(("redrawn", seed), "weights in another order", experiment)

    def data_scale(self, part: str) -> Scale | None:
        return scale_of(looks.floats(self._program, part))

    def out_of_reach(self, low: float, high: float) -> float | None:
        return out_of_reach(looks.floats(self._program, "targets"), low, high)

    @property
    def samples(self) -> int | None:
        """Samples of the first batch; ``None`` where its parts cannot be told apart by sample."""
        return self._program.samples

    def shuffled_ratio(self) -> float | None:
        """Loss over the loss with targets given to the wrong samples: near 1 for who knows nothing.

        Free of the scale of the loss. ``None`` where batches have no targets of their own (the
        second of a pair, named so in a mapping), or a loss is not positive.
        """
        program, said = self._program, "the loss with shuffled targets"
        experiment = lambda: looks.shuffled_ratio(program, *program.batches(1))  # noqa: E731
        return self._attempts.run(("shuffled",), said, experiment)

    def redrawn_ratio(self) -> float | None:
        """Loss over the loss with the entries of every weight tensor in another order."""
        said = "the loss with the weights in another order"
        experiment = lambda: looks.redrawn_ratio(self._program)  # noqa: E731
        return self._attempts.run(("redrawn loss",), said, experiment)

    def steps_to_know(
        self,
        share: float,
        most: int,
        *,
        rate: float = 1.0,
        even: bool = False,
        parts: int = 1,
        lasting: bool = False,
    ) -> float | None:
        """Asked after 25 steps and at every doubling; see :meth:`Laboratory.steps_to_know`.

        ``None`` where targets cannot be shuffled, and without an optimizer unless ``even``.
        """
        if not (self.has_optimizer or even) or self.shuffled_ratio() is None:
            return None

        def experiment() -> float | None:
            return knowing.steps_to_know(self._program, share, most, rate, even, parts, lasting)

        said = f"at most {most} steps at {rate:g} times the step size, until something is learned"
        if even:
            said = f"at most {most} steps of Adam, until something is learned"
        return self._attempts.run(
            ("know", share, most, rate, even, parts, lasting), said, experiment
        )

    def loss_follows(self, names: Sequence[str]) -> bool | None:
        """Whether the loss changes when these parameters of a copy are given other values."""
        experiment = lambda: looks.loss_follows(self._program, names)  # noqa: E731
        return self._attempts.run(
            ("follows", *names), "other values for what gets no gradient", experiment
        )

    def falls_with_misfit(self) -> bool | None:
        """Whether the loss falls as outputs go away from the batch (``None``: nothing to ask of).

        See :func:`unvanish.experiments.misfit.falls_with_misfit`.
        """
        said = "the slope of the loss by the distance to the batch"
        return self._attempts.run(("misfit",), said, lambda: falls_with_misfit(self._program))

    def mixed_at(self) -> Mixed | None:
        """Where answers begin to depend on the other samples of the batch; ``None``: not seen.

        See :func:`unvanish.experiments.mixing.mixed_at`.
        """
        return self._attempts.once(("mixed",), lambda: mixed_at(self._program))

    def jacobian_spread(self) -> float | None:
        """How far the singular values of d outputs / d inputs lie apart, from a few products.

        Standard deviation of their natural logarithm (0: all alike), see
        :func:`unvanish.probe.gate.singular_value_spread`. ``None`` where the inputs are not one
        float tensor or the outputs not one.
        """
        said = "products with the end-to-end Jacobian"
        return self._attempts.run(("jacobian",), said, lambda: looks.jacobian_spread(self._program))

    def with_loss_scaled(self, factor: float) -> Trace | None:
        """The trace with the loss multiplied by ``factor`` before the backward pass."""
        experiment = lambda: looks.loss_scaled(self._program, factor)  # noqa: E731
        return self._attempts.run(("scaled", factor), f"the loss times {factor:g}", experiment)

    def held_out(
        self,
        steps: int | None = None,
        factors: Mapping[str, float] | None = None,
        rate: float = 1.0,
    ) -> HeldOut | None:
        """Train a copy on every other batch, or half of a single one, then ask about the rest.

        ``None`` with fewer than 20 granted steps, or where samples cannot be told apart.
        """
        program, loss = self._program, self._program.loss
        taken = self.allowed if steps is None else steps
        if taken < FEWEST_STEPS or not (self.has_optimizer or steps) or loss is None:
            return None
        parts = self._halved(2 * min(taken, SHOWN))
        if parts is None:
            return None
        seen, unseen = parts

        def experiment() -> HeldOut:
            twin, optimizer = program.twin(factors)
            set_options(optimizer, rate, decay=True, momentum=True)
            try:
                with program.at_rest():
                    program.trained(twin, optimizer, seen, taken, tracked=False)
                    return ask(twin, seen[:ASKED], unseen[:ASKED], loss)
            except IndexError as error:  # in half of a batch that was looked at as a whole
                reason = str(error).rstrip(".")
                said = f"targets of samples that refer to the batch cannot be halved: {reason}"
                raise IndexError(said) from error

        changed = wording.changes(rate=rate, factors=factors or ())
        said = f"{taken} steps on half of the samples" + changed
        key = "held out", taken, rate, *sorted((factors or {}).items())
        return self._attempts.run(key, said, experiment)

    def _halved(self, most: int) -> tuple[list[Any], list[Any]] | None:
        """Batches to be shown and to be asked about, read once: a loader may have to start for it."""

        def read() -> tuple[list[Any], list[Any]] | None:
            pairs = self._program.pairs(most)
            return split_samples(pairs) if pairs is not None else None

        return self._attempts.once(("halved", most), read)

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
        step = self._program.step
        if step is None or not self.has_optimizer:
            return None

        def rescale(scale: float) -> float:
            return scale * scale_factor if scale_to is None else scale_to

        def listening(twin: nn.Module, optimizer: torch.optim.Optimizer) -> LoopRecorder:
            return LoopRecorder(twin, optimizer, rescale=rescale, clip=clip, divide=divide)

        def experiment() -> LoopRecord:
            return self._program.looped(step, self.allowed, listening)

        said = wording.of_calls(scale_factor, scale_to, clip, divide)
        return self._attempts.run(("loop", scale_factor, scale_to, clip, divide), said, experiment)
