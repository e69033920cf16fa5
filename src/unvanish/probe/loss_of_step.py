"""The loss of a user's training step, stopped before its backward pass."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler

from unvanish.errors import BadInput
from unvanish.optimizer_copy import OptimizerFactory, stand_in
from unvanish.probe.interception import exchanged, schedulers_standing_still
from unvanish.probe.loss_scaler import ScalerKeeper

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

    def __call__(self, model: nn.Module, batch: Any) -> Tensor:
        """The loss of one batch.

        Raises:
            BadInput: the step came to its end without a backward call.
        """
        optimizer = stand_in(self._optimizer, self._model, model)
        unscaled: dict[int, tuple[Tensor, Tensor]] = {}
        scalers = ScalerKeeper()

        def stop(original: Any) -> Any:
            def backward(tensors: Any, *arguments: Any, **options: Any) -> None:
                root = tensors if isinstance(tensors, Tensor) else next(iter(tensors))
                raise _LossReached(unscaled.get(id(root), (root, root))[1])

            return backward

        def follow(original: Any) -> Any:
            def scale(scaler: GradScaler, outputs: Any) -> Any:
                scalers.meet(scaler)
                result = original(scaler, outputs)
                unscaled[id(result)] = result, outputs
                return result

            return scale

        try:
            with (
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
            "step(model, optimizer, batch) came to its end without calling backward on a loss: it must "
            "be one whole training step (loss, backward, optimizer step)."
        )


class _LossReached(BaseException):
    """Carries the loss out of the step; no Exception, so that a step's own handlers let it pass."""

    def __init__(self, loss: Tensor) -> None:
        super().__init__("the loss of a training step")
        self.loss = loss
