"""A user's own training step, listened to: which gradients are made, changed, used and left."""

import contextlib
import functools
from collections.abc import Callable
from types import TracebackType
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from unvanish.errors import BadInput
from unvanish.signals import l2
from unvanish.training.interception import (
    clipping_arguments,
    exchanged,
    exchanged_inside,
    schedulers_standing_still,
)
from unvanish.training.leftovers import Leftovers
from unvanish.training.loss_roots import likeness, share_of_mean
from unvanish.training.loss_scaler import ScalerKeeper
from unvanish.training.record import Backward, Clipping, LoopStep
from unvanish.training.turns import Arrivals, Turns

Call = Callable[..., Any]


class LoopRecorder:
    """Listens, as a context, to the training of one model by one optimizer; ``steps`` is the record.

    Args:
        model: the copy that is trained.
        optimizer: its optimizer.
        rescale: what to make of a loss scaler's scale when it is met first (an experiment).
        clip: ``False``: functions that clip measure and do not clip (an experiment).
        divide: number that gradients are divided by before each step (an experiment).
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        rescale: Callable[[float], float] | None = None,
        clip: bool = True,
        divide: float = 1.0,
    ) -> None:
        self.steps: list[LoopStep] = []
        self._optimizer = optimizer
        self._clip, self._divide = clip, divide
        self._own = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self._identities = {id(p) for p in self._own.values()}
        self._leftovers = Leftovers(self._own)
        self._arrivals, self._turns = Arrivals(optimizer), Turns(self._own)
        self._scalers = ScalerKeeper(rescale)
        self._inside = 0
        self._stack = contextlib.ExitStack()
        self._start_step()

    def _start_step(self) -> None:
        self._backwards: list[Backward] = []
        self._clippings: list[Clipping] = []
        self._norm: float | None = None
        self._scale: float | None = None
        self._multiplied = False
        self._before_unscaling: float | None = None
        self._cleared = False
        self._arrivals.forget()

    def __enter__(self) -> "LoopRecorder":
        try:
            self._listen()
        except BaseException:
            self._stack.close()  # nothing may stay exchanged where listening could not begin
            raise
        return self

    def _listen(self) -> None:
        enter = self._stack.enter_context
        enter(schedulers_standing_still())
        enter(exchanged(torch.autograd, "backward", self._listen_to_backward))
        enter(exchanged(torch.optim.Optimizer, "zero_grad", self._refuse_strangers))
        enter(exchanged_inside(torch.nn.utils.clip_grad_norm_, self._listen_to_clipping("norm")))
        enter(exchanged_inside(torch.nn.utils.clip_grad_value_, self._listen_to_clipping("value")))
        enter(exchanged(GradScaler, "scale", self._listen_to_scale))
        enter(exchanged(GradScaler, "unscale_", self._listen_to_unscale))
        enter(exchanged(GradScaler, "step", self._listen_to_scaler_step))
        enter(exchanged(GradScaler, "update", self._listen_to_update))
        self._stack.callback(register_optimizer_step_pre_hook(self._before_step).remove)
        self._stack.callback(register_optimizer_step_post_hook(self._after_step).remove)
        self._stack.callback(self._scalers.give_back)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _listen_to_backward(self, original: Call) -> Call:
        def backward(tensors: Any, *arguments: Any, **options: Any) -> Any:
            if self._inside:  # a checkpoint that recomputes, within a backward pass
                return original(tensors, *arguments, **options)
            loss, scale = self._scalers.behind(tensors)
            seen = _read(loss)
            self._leftovers.before_backward()
            before = self._versions()
            self._inside += 1
            try:
                result = original(tensors, *arguments, **options)
            finally:
                self._inside -= 1
            if self._versions() != before:  # it reached this model
                self._leftovers.after_backward()
                self._arrivals.after_backward()
                self._backwards.append(seen)
                self._multiplied = self._multiplied or scale is not None
                self._scale = scale or self._scale
                self._norm = self._gradient_norm() / (scale or 1.0)
            return result

        return backward

    def _versions(self) -> list[tuple[int, int]]:
        gradients = [p.grad for p in self._own.values()]
        return [(id(g), g._version) if g is not None else (0, 0) for g in gradients]

    def _gradient_norm(self) -> float:
        norms = [l2(p.grad) for p in self._own.values() if p.grad is not None]
        return float(torch.tensor(norms, dtype=torch.float64).norm()) if norms else 0.0

    def _refuse_strangers(self, original: Call) -> Call:
        def zero_grad(optimizer: torch.optim.Optimizer, *arguments: Any, **options: Any) -> Any:
            self._check_own(optimizer)
            return original(optimizer, *arguments, **options)

        return zero_grad

    def _check_own(self, optimizer: torch.optim.Optimizer) -> None:
        """Refuse the user's own optimizer: a step must use the one that it was given.

        Raises:
            BadInput: it is of the same class and over tensors of the same shapes, but not the copy.
        """
        if optimizer is self._optimizer or type(optimizer) is not type(self._optimizer):
            return
        if _shapes(optimizer) == _shapes(self._optimizer) and not self._holds_own(optimizer):
            raise BadInput(
                "step(model, optimizer, batch) used another optimizer than the one it was given: it is "
                "called with copies, so take model and optimizer from its arguments."
            )

    def _holds_own(self, optimizer: torch.optim.Optimizer) -> bool:
        held = (p for group in optimizer.param_groups for p in cast(list[Tensor], group["params"]))
        return any(id(p) in self._identities for p in held)

    def _listen_to_clipping(self, kind: str) -> Callable[[Call], Call]:
        def make(original: Call) -> Call:
            read = clipping_arguments(original)

            @functools.wraps(original)
            def clipping(*arguments: Any, **options: Any) -> Any:
                given, listed, name = read(arguments, options)
                limit = given.arguments[name]
                if any(id(p) in self._identities for p in listed):
                    met = Clipping(kind=kind, limit=float(limit), scaled=self._multiplied)
                    self._clippings.append(met)
                    given.arguments[name] = limit if self._clip else float("inf")
                return original(*given.args, **given.kwargs)

            return clipping

        return make

    def _listen_to_scale(self, original: Call) -> Call:
        def scale(scaler: GradScaler, outputs: Any) -> Any:
            return self._scalers.multiply(original, scaler, outputs)

        return scale

    def _listen_to_unscale(self, original: Call) -> Call:
        def unscale(scaler: GradScaler, optimizer: torch.optim.Optimizer) -> Any:
            self._scalers.meet(scaler)
            if optimizer is self._optimizer and scaler.is_enabled():
                self._before_unscaling = self._gradient_norm()
            result = original(scaler, optimizer)
            if optimizer is self._optimizer:
                self._multiplied = False
            return result

        return unscale

    def _listen_to_scaler_step(self, original: Call) -> Call:
        def step(
            scaler: GradScaler, optimizer: torch.optim.Optimizer, *rest: Any, **more: Any
        ) -> Any:
            self._scalers.meet(scaler)
            self._check_own(optimizer)
            taken = len(self.steps)
            result = original(scaler, optimizer, *rest, **more)
            if optimizer is self._optimizer and len(self.steps) == taken:
                self._finish(used=None, skipped=True)
            return result

        return step

    def _listen_to_update(self, original: Call) -> Call:
        def update(scaler: GradScaler, *arguments: Any, **options: Any) -> Any:
            self._scalers.meet(scaler)
            return original(scaler, *arguments, **options)

        return update

    def _before_step(self, optimizer: torch.optim.Optimizer, arguments: Any, options: Any) -> None:
        self._check_own(optimizer)
        self._turns.begin(optimizer)
        if optimizer is not self._optimizer:
            return
        self._cleared = self._arrivals.cleared()
        scale = _fused_scale(optimizer)
        if scale is not None:  # a fused optimizer divides by the scale itself
            self._before_unscaling = self._gradient_norm()
            self._multiplied = False
        if self._divide != 1:
            for parameter in self._own.values():
                if parameter.grad is not None:
                    parameter.grad.div_(self._divide)
        self._used = self._gradient_norm() / (scale or 1.0)

    @property
    def unused(self) -> int:
        """Backward calls since the last step of the optimizer."""
        return len(self._backwards)

    @property
    def shared(self) -> frozenset[str]:
        """Names of parameters that this optimizer and another one each step."""
        return self._turns.shared(self._optimizer)

    def _after_step(self, optimizer: torch.optim.Optimizer, arguments: Any, options: Any) -> None:
        self._turns.end()
        if optimizer is self._optimizer:
            found = getattr(optimizer, "found_inf", None)
            skipped = found is not None and bool(found)
            self._finish(used=None if skipped else self._used, skipped=skipped)

    def _finish(self, used: float | None, skipped: bool) -> None:
        self.steps.append(
            LoopStep(
                backwards=tuple(self._backwards),
                skipped=skipped,
                scale=self._scale,
                norm=self._norm,
                used=used,
                before_unscaling=self._before_unscaling,
                clippings=tuple(self._clippings),
                stale=self._leftovers.at_step(),
                reached=tuple(name for name, p in self._own.items() if p.grad is not None),
                cleared=self._cleared,
            )
        )
        self._leftovers.after_step()
        self._start_step()


def _read(loss: Tensor) -> Backward:
    value = float(loss.detach().sum())
    return Backward(value=value, share=share_of_mean(loss), likeness=likeness(loss))


def _shapes(optimizer: torch.optim.Optimizer) -> list[torch.Size]:
    return [
        p.shape for group in optimizer.param_groups for p in cast(list[Tensor], group["params"])
    ]


def _fused_scale(optimizer: torch.optim.Optimizer) -> float | None:
    scale = getattr(optimizer, "grad_scale", None)
    return None if scale is None else float(scale)
