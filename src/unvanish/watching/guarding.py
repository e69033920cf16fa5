"""Carries out what the policies of a guard decide, inside of one step, and undoes it after."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from unvanish.guard.policy import Act, Moment, Policy, ScalePolicy, ScaleUpdate
from unvanish.recording import Event
from unvanish.watching.leaving_out import LeavingOut
from unvanish.watching.reading import Pending
from unvanish.watching.step_facts import StepFacts
from unvanish.watching.watched import Watched


class Guarding:
    """The policies of one watch. False where there are none: then nothing here runs."""

    def __init__(self, policies: Sequence[Policy], model: nn.Module, watched: Watched) -> None:
        self._policies, self._model, self._watched = tuple(policies), model, watched
        self._untouched = copy.deepcopy(self._policies)
        self._by_optimizer: dict[int, tuple[Policy, ...]] = {}
        self._moment: Moment | None = None
        self._leaving_out = LeavingOut()
        self._rates: list[tuple[dict[str, Any], Any]] = []

    @property
    def skipping(self) -> bool:
        """Whether the step at hand is left out."""
        return self._moment is not None and self._moment.skip

    def _of(self, optimizer: torch.optim.Optimizer) -> tuple[Policy, ...]:
        """The policies of one optimizer: each remembers what it saw, and that is another's for another."""
        if not self._by_optimizer:
            self._by_optimizer[id(optimizer)] = self._policies
        if id(optimizer) not in self._by_optimizer:
            self._by_optimizer[id(optimizer)] = copy.deepcopy(self._untouched)
        return self._by_optimizer[id(optimizer)]

    def __bool__(self) -> bool:
        return bool(self._policies)

    def before_step(
        self,
        optimizer: torch.optim.Optimizer,
        pending: Pending,
        facts: StepFacts,
        scale: float,
        alarms: tuple[Event, ...],
    ) -> None:
        """Ask every policy, then skip the step or change its rate as they want."""
        moment = Moment(
            step=pending.step,
            optimizer=optimizer,
            parameters=self._watched.parameters,
            reading=pending.reading(),
            loss=None if facts.loss is None else float(facts.loss),
            loss_scale=scale,
            scaler=facts.scaler,
            model=self._model,
            alarms=alarms,
        )
        self._moment = moment
        for policy in self._of(optimizer):
            policy.before_step(moment)
        if moment.skip:
            self._leaving_out.begin(moment)
        elif moment.rate_factor != 1:
            for group in optimizer.param_groups:
                self._rates.append((group, group["lr"]))
                group["lr"] = group["lr"] * moment.rate_factor

    def after_step(self) -> list[Act]:
        """Put gradients and rates back; what was done in this step."""
        self._undo()
        moment, self._moment = self._moment, None
        if moment is None:
            return []
        for policy in self._of(moment.optimizer):
            policy.after_step(moment)
        return moment.acts

    def _undo(self) -> None:
        self._leaving_out.end()
        for group, rate in self._rates:
            group["lr"] = rate
        self._rates.clear()

    def after_scale_update(self, step: int, scaler: Any) -> list[Act]:
        """The loss scale was updated: what was done about it."""
        update = ScaleUpdate(step=step, scaler=scaler)
        for policy in [policy for some in self._by_optimizer.values() for policy in some]:
            if isinstance(policy, ScalePolicy):
                policy.after_update(update)
        return update.acts

    def close(self) -> None:
        """Undo whatever is still changed."""
        self._undo()
        for policies in self._by_optimizer.values():
            for policy in policies:
                policy.close()
