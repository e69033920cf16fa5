"""The loss of a user's training step, stopped before its backward pass."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler

from unvanish.errors import BadInput
from unvanish.preserve import hooks_kept
from unvanish.probe.graph import is_reentrant_checkpoint, nodes_behind
from unvanish.training.interception import exchanged, schedulers_standing_still
from unvanish.training.loss_scaler import ScalerKeeper
from unvanish.training.optimizer_copy import OptimizerFactory, stand_in
from unvanish.training.reached import kept, reached

Step = Callable[[nn.Module, torch.optim.Optimizer, Any], Any]


class LossOfStep:
    """``forward(model, batch) -> loss`` made of a training step ``step(model, optimizer, batch)``.

    The step is run up to its first backward call; the loss is what that call was made on, before
    a loss scaler multiplied it. The optimizer that the step sees has the user's settings and no
    history, and is never stepped.
    """

    def __init__(
        self, step: Step, optimizer: torch.optim.Optimizer | OptimizerFactory, model: nn.Module
    ) -> None:
        self._step, self._optimizer, self._model = step, optimizer, model
        self._outside = [thing for thing in reached(step) if thing is not model]

    def __call__(self, model: nn.Module, batch: Any) -> Tensor:
        """The loss of one batch.

        Raises:
            BadInput: the step came to its end without a backward call.
        """
        optimizer = stand_in(self._optimizer, self._model, model)
        scalers = ScalerKeeper()
        own = {id(parameter) for parameter in model.parameters()}

        def stop(original: Any) -> Any:
            def backward(tensors: Any, *arguments: Any, **options: Any) -> Any:
                loss, _ = scalers.behind(tensors)
                if not _reaches(loss, own):  # a critic's own turn, for one, before the model's
                    return original(tensors, *arguments, **options)
                given = arguments[0] if arguments else options.get("grad_tensors")
                raise _LossReached(_weighed(loss, given))

            return backward

        def follow(original: Any) -> Any:
            def scale(scaler: GradScaler, outputs: Any) -> Any:
                return scalers.multiply(original, scaler, outputs)

            return scale

        try:
            with (
                torch.enable_grad(),  # whose loss a backward call is made on shows in its graph
                kept(self._outside),
                hooks_kept(model.parameters()),
                schedulers_standing_still(),
                exchanged(torch.autograd, "backward", stop),
                exchanged(GradScaler, "scale", follow),
            ):
                self._step(model, optimizer, batch)
        except _LossReached as reached:
            return reached.loss
        finally:
            scalers.give_back()
        raise BadInput(
            "step(model, optimizer, batch) came to its end without calling backward on a loss of "
            "this model: it must be one whole training step (loss, backward, optimizer step). If it "
            "fills .grad by hand, pass loss= or forward= too."
        )


def _weighed(root: Tensor, given: Any) -> Tensor:
    """The scalar with the same gradient as a backward call that was given one (cached, chunked)."""
    if not isinstance(given, Tensor) or given.shape != root.shape:
        return root
    return (root * given.detach()).sum()


def _reaches(root: Tensor, own: set[int]) -> bool:
    """Whether the graph of a tensor leads to one of these parameters."""
    return any(
        id(getattr(node, "variable", None)) in own or is_reentrant_checkpoint(node)
        for node in nodes_behind(root)
    )


class _LossReached(BaseException):
    """Carries the loss out of the step; no Exception, so that a step's own handlers let it pass."""

    def __init__(self, loss: Tensor) -> None:
        super().__init__("the loss of a training step")
        self.loss = loss
