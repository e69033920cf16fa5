"""A look at a running training: its next forward and backward pass, observed as they happen.

Nothing is run for it and nothing is changed: no seed, no copy, no gradient cleared. What the hooks
and the recorder read are the program's own tensors, and only while they exist anyway.
"""

import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from unvanish.probe.checkpoints import see_through
from unvanish.probe.live_calls import leave, listen
from unvanish.probe.live_own_work import OwnWork
from unvanish.probe.live_pass import LivePass
from unvanish.probe.live_reasons import cannot_be_seen, cannot_be_seen_now
from unvanish.probe.spans import running_node
from unvanish.trace import Trace


class LiveLook:
    """Watches the next forward and backward pass of one model in somebody's running training.

    It is armed by :meth:`begin`, records from the next call of a module of the model in which
    gradients are on, and is complete when a backward pass that reached that call is over. Losses,
    gradients, weights and random state are bit for bit what they are without it. What goes wrong
    in here ends the look and never the training; ``reason`` then says why there is no trace.

    Args:
        model: the user's own module, not what ``torch.compile`` or a data-parallel wrapper made.
        locating: find the first op that makes NaN or Inf in the backward pass; this takes another
            pass over every gradient. (The first one of the forward pass is always found.)
    """

    def __init__(self, model: nn.Module, *, locating: bool = False) -> None:
        self.reason: str | None = None
        self.seconds = 0.0
        """Own time spent in the look so far, waiting for the device included."""
        self.working = False
        self._model, self._locating = model, locating
        self._names: set[int] = set()
        self._pass: LivePass | None = None
        self._trace: Trace | None = None
        self._handles: list[Any] = []
        self._over = True
        self._depth = 0
        self._reached = False
        self._error: BaseException | None = None

    @property
    def complete(self) -> bool:
        """Whether a forward pass and the backward pass that reached it were seen."""
        return self._trace is not None

    def begin(self) -> None:
        """Record the next forward pass, until a backward pass reaches it."""
        if not self._over or self._trace is not None:
            return
        with self.own():
            self.reason = cannot_be_seen(self._model)
            if self.reason is not None:
                return
            self._over = False
            self._names = {id(module) for module in self._model.modules()}
            self._handles = [torch_module.register_module_forward_pre_hook(self._armed)]
            listen(self)

    def own(self) -> OwnWork:
        """What our own work is done inside of: it is timed, and what it raises ends the look."""
        return OwnWork(self)

    def _armed(self, module: nn.Module, arguments: tuple[Any, ...]) -> Any:
        """Before every module call, until one of the model's own comes with gradients on."""
        if self._over or self._pass is not None or id(module) not in self._names:
            return None
        if not torch.is_grad_enabled():
            return None
        with self.own():
            reason = cannot_be_seen_now()
            if reason is None:
                return self._start(module, arguments)
            self.stop(reason)
        return None

    def _start(self, module: nn.Module, arguments: tuple[Any, ...]) -> Any:
        self._remove_handles()
        self._pass = LivePass(self._model, self, self._locating)
        self._pass.start()
        self._handles = [
            torch_module.register_module_forward_hook(
                self._left, with_kwargs=True, always_call=True
            )
        ]
        return self._pass.spans.enter(module, arguments)

    def start_again(self, module: nn.Module, arguments: tuple[Any, ...]) -> Any:
        """The model is called anew, and of what was recorded nothing is alive: begin from here."""
        if self._pass is not None:
            self._pass.close()
        return self._start(module, arguments)

    def _left(self, module: nn.Module, arguments: Any, *rest: Any) -> None:
        """After every module call; torch gives no keywords where it raised."""
        seen = self._pass
        if self._over or seen is None or id(module) not in self._names or not seen.here:
            self._release()
            return
        if self._depth:  # recomputed in a backward pass
            return
        error = sys.exc_info()[1]
        with self.own():
            seen.left(module, rest[0] if len(rest) > 1 else ())
            raised = len(rest) < 2 and error is not None and error is not seen.error_before
            if raised and not seen.spans.inside_model:
                self.stop(f"the forward pass raised {type(error).__name__}")

    def step_aside(self) -> None:
        """Called before a backward pass: it must not meet the recorder."""
        if self._pass is not None and self._pass.here:
            self._pass.recorder.take_off()
        self._release()

    def come_back(self) -> None:
        """Called after a backward pass, which may have been another net's."""
        if not self._over and self._pass is not None and self._pass.here:
            self._pass.recorder.put_on()
        self._release()

    def compiled(self) -> None:
        """Called before compiled code runs, which is not to be compiled again for our sake."""
        if not self._over:
            self.stop("not available: compiled code runs in this step")

    def recomputes(self, tensors: Any) -> None:
        """Called when a backward pass starts inside another: a reentrant checkpoint."""
        if not self._over and self._pass is not None and self._reached:
            with self.own():
                see_through(self._pass.watch, tensors)

    def before_backward(
        self, roots: Tensor | Sequence[Tensor], scale: Any = None, continued: bool = False
    ) -> None:
        """Put hooks on the graph if it reaches the recorded forward pass.

        Args:
            roots: what ``torch.autograd.backward`` is called on.
            scale: the loss scale that was multiplied in, where there is a loss scaler.
            continued: the gradient of the roots came from elsewhere: none of them is a loss.
        """
        self._release()
        seen = self._pass
        if self._over or seen is None or not seen.here or running_node() is not None:
            return
        self._depth += 1
        if self._depth > 1:
            return
        self._error = sys.exc_info()[1]
        with self.own():
            seen.recorder.take_off()
            listed = [roots] if isinstance(roots, Tensor) else list(roots)
            self._reached = seen.reaches(listed)
            if self._reached:
                seen.turn_to_backward(listed, None if scale is None else float(scale), continued)

    def after_backward(self) -> None:
        """Take everything off if that pass was the one, and read what was seen."""
        if self._over or self._pass is None or not self._pass.here or not self._depth:
            return
        self._depth -= 1
        if self._depth:
            return
        error, before, self._error = sys.exc_info()[1], self._error, None
        if error is not None and error is not before:
            self.stop(f"the backward pass raised {type(error).__name__}")
        elif not self._reached:
            self.come_back()
        else:
            with self.own():
                trace = self._pass.read()
                self.stop(None)
                self._trace = trace

    def finish(self) -> Trace | None:
        """The trace of what was seen, without a tensor; everything is removed.

        ``None`` where no backward pass reached the forward pass: ``reason`` says why.
        """
        if not self._over:
            unreached = "no backward pass reached the forward pass that was seen"
            unseen = "the model was not called with gradients on"
            self.stop(unreached if self._pass is not None else unseen)
        self._release()
        return self._trace

    def abandon(self) -> None:
        """Remove everything at once, whatever was seen."""
        if not self._over:
            self.stop("the look was abandoned")
        self._trace = None
        self._release()

    def stop(self, reason: str | None) -> None:
        """End the look, for this reason (``None``: it is complete)."""
        self.reason = self.reason or reason
        self._over = True
        self._error = None
        if self._pass is not None:
            self._pass.recorder.off = True
        self._release()

    def _release(self) -> None:
        """Let go of everything, unless the recorder is in use this very moment: then later."""
        if not self._over or (self._pass is not None and not self._pass.close()):
            return
        self._pass = None
        leave(self)
        self._remove_handles()

    def _remove_handles(self) -> None:
        for handle in self._handles:
            handle.remove()
            # torch forgets to: its handle knows of one further dictionary only.
            torch_module._global_forward_hooks_with_kwargs.pop(handle.id, None)
        self._handles.clear()
