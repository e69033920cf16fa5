"""The user's program on copies: its batches, its loss, its optimizer, its own training step."""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from unvanish.batches import (
    Forward,
    Loss,
    compute_loss,
    is_pair,
    map_tensors,
    split_batch,
    take_batches,
)
from unvanish.experiments.altered_data import count_samples, halves_of, standardized
from unvanish.experiments.rehearsal import EVALUATED, Rehearsal, mean_loss, rehearse
from unvanish.preserve import preserved
from unvanish.probe.compiled import eager
from unvanish.probe.observe import observe
from unvanish.trace import Trace
from unvanish.training.loss_of_step import Step
from unvanish.training.optimizer_copy import OptimizerFactory, copied_optimizer, hand_over
from unvanish.training.reached import kept, reached
from unvanish.training.record import LoopRecord
from unvanish.training.recorder import LoopRecorder
from unvanish.training.schedules import rate_rises
from unvanish.twins import twin_of

FEWEST_CALLS = 4
"""Calls of a user's step that show what one does to the next, whatever was granted."""


@dataclass(frozen=True)
class Program:
    """What the user gave. Whatever is trained here is a copy; the model itself is never stepped."""

    model: nn.Module
    data: Any
    loss: Loss | None
    forward: Forward | None
    optimizer: torch.optim.Optimizer | OptimizerFactory | None
    seed: int
    step: Step | None = None

    @cached_property
    def _reached(self) -> list[Any]:
        return reached(self.step) if self.step is not None else []

    @property
    def beside(self) -> list[torch.optim.Optimizer]:
        """Optimizers that the user's training step can reach besides the one that was given."""
        found = [thing for thing in self._reached if isinstance(thing, torch.optim.Optimizer)]
        return [thing for thing in found if thing is not self.optimizer]

    @property
    def stepped(self) -> bool:
        """Whether steps were taken with the optimizer: it remembers some, or its scheduler saw one.

        Plain SGD remembers nothing; torch's schedulers mark an optimizer whose step was called.
        """
        return self.remembers or getattr(self.optimizer, "_opt_called", False) is True

    @property
    def remembers(self) -> bool:
        """Whether the user's optimizer holds something of the steps before (momentum, averages)."""
        return isinstance(self.optimizer, torch.optim.Optimizer) and bool(self.optimizer.state)

    @cached_property
    def rate_rises(self) -> bool | None:
        """Whether a scheduler will raise the rate again; ``None``: none is known."""
        given = self.optimizer
        return rate_rises(given) if isinstance(given, torch.optim.Optimizer) else None

    def batches(self, most: int) -> list[Any]:
        """The first ones, at least one."""
        return take_batches(self.data, max(most, 1))

    def pair(self) -> tuple[Any, Any] | None:
        """Inputs and targets of the first batch; ``None`` where only the user knows which is which."""
        return self.halves() if self.forward is None else None

    def halves(self) -> tuple[Any, Any] | None:
        """Inputs and targets of the first batch, which a ``forward`` of the user's own may take too.

        There the second of a pair is taken for targets: where it is none, nothing is learned of it.
        """
        return halves_of(self.batches(1)[0])

    @cached_property
    def samples(self) -> int | None:
        """Samples of the first batch; ``None`` where its parts cannot be told apart by sample."""
        (batch,) = self.batches(1)
        return count_samples(batch) if halves_of(batch) is not None else None

    def pairs(self, most: int) -> list[tuple[Any, Any]] | None:
        """Inputs and targets of the first batches; ``None`` as for the first one."""
        batches = self.batches(most)
        if self.forward is not None or not all(map(is_pair, batches)):
            return None
        return [split_batch(batch) for batch in batches]

    def loss_of(self, model: nn.Module, batch: Any) -> Tensor:
        """Of a copy of the batch: in-place code of the model must not write into the user's data."""
        return compute_loss(model, map_tensors(batch, Tensor.clone), self.loss, self.forward)

    @contextmanager
    def at_rest(self) -> Generator[None]:
        """The user's model and random state stay as they are, and nothing is compiled."""
        with preserved(self.model, self.seed), eager():
            yield

    def observed(
        self, model: nn.Module, batches: list[Any] | None = None, forward: Forward | None = None
    ) -> Trace:
        """The trace of a model in the place of the user's."""
        data = self.batches(1) if batches is None else batches
        loss = self.loss if forward is None else None
        return observe(model, data, loss, forward or self.forward, self.seed)

    @contextmanager
    def _lent(self, twin: nn.Module) -> Generator[None]:
        """What the training step reaches is put back; its other optimizers step the copy."""
        with kept(self._reached):
            for optimizer in self.beside:
                hand_over(optimizer, self.model, twin)
            yield

    def twin(
        self, factors: Mapping[str, float] | None = None
    ) -> tuple[nn.Module, torch.optim.Optimizer]:
        """A copy without gradients, parameters multiplied by ``factors``, and its optimizer."""
        twin = twin_of(self.model)
        for parameter in twin.parameters():
            parameter.grad = None
        with torch.no_grad():
            for name, factor in (factors or {}).items():
                twin.get_parameter(name).mul_(factor)
        return twin, copied_optimizer(self.optimizer, self.model, twin)

    def rehearsed(
        self,
        twin: nn.Module,
        optimizer: torch.optim.Optimizer,
        steps: int,
        scaled: str | None = None,
    ) -> Rehearsal:
        """Real steps of a copy on the user's batches, ``scaled`` parts of them standardized."""
        with self.at_rest():
            batches = self.batches(steps)
            if scaled is not None:
                batches = [standardized(batch, scaled) for batch in batches]
            return self.trained(twin, optimizer, batches, steps)

    def trained(
        self,
        twin: nn.Module,
        optimizer: torch.optim.Optimizer,
        batches: list[Any],
        steps: int,
        tracked: bool = True,
    ) -> Rehearsal:
        """Real steps of a copy, by the user's own training step where there is one."""
        step = self.step
        if step is None:
            return rehearse(twin, optimizer, batches, steps, self.loss_of, tracked=tracked)

        def take(twin: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
            step(twin, optimizer, map_tensors(batch, Tensor.clone))

        with LoopRecorder(twin, optimizer), self._lent(twin):
            return rehearse(twin, optimizer, batches, steps, self.loss_of, take, tracked=tracked)

    def looped(
        self,
        step: Step,
        granted: int,
        listening: Callable[[nn.Module, torch.optim.Optimizer], LoopRecorder],
    ) -> LoopRecord:
        """Calls of the user's own training step on copies, listened to."""
        twin, optimizer = self.twin()
        recorder = listening(twin, optimizer)
        least, calls = max(granted, FEWEST_CALLS), 0
        with self.at_rest(), self._lent(twin):
            batches = self.batches(least)
            initial = mean_loss(twin, batches[:EVALUATED], self.loss_of)
            before = {name: p.detach().clone() for name, p in twin.named_parameters()}
            with recorder:
                # Gradients may be gathered over several calls: two optimizer steps are waited for.
                while calls < least or (len(recorder.steps) < 2 and calls < 8 * least):
                    step(twin, optimizer, map_tensors(batches[calls % len(batches)], Tensor.clone))
                    calls += 1
            return LoopRecord(
                calls=calls,
                steps=tuple(recorder.steps),
                initial=initial,
                final=mean_loss(twin, batches[:EVALUATED], self.loss_of),
                rate=float(optimizer.param_groups[0]["lr"]),
                moved=frozenset(n for n, p in twin.named_parameters() if not p.equal(before[n])),
                unused=recorder.unused,
                shared=recorder.shared,
            )
