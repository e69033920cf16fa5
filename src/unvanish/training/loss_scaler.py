"""A loss scaler that is met while a user's step runs: read, changed for an experiment, put back."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.amp.grad_scaler import GradScaler


class ScalerKeeper:
    """Remembers loss scalers as they were when first met.

    Args:
        rescale: what to make of the scale that a scaler comes with (an experiment).
    """

    def __init__(self, rescale: Callable[[float], float] | None = None) -> None:
        self._rescale = rescale
        self._met: dict[int, tuple[GradScaler, dict[str, Any]]] = {}
        self._products: dict[int, tuple[Tensor, Tensor, float]] = {}

    def meet(self, scaler: GradScaler) -> None:
        """Remember a scaler; from here on it works on a state of its own."""
        if id(scaler) in self._met or not scaler.is_enabled():
            return
        self._met[id(scaler)] = scaler, dict(scaler.__dict__)
        state = scaler.__dict__
        states: Any = scaler._per_optimizer_states
        state["_per_optimizer_states"] = defaultdict(states.default_factory)
        for name in ("_scale", "_growth_tracker"):
            if state[name] is not None:
                state[name] = state[name].clone()
        if self._rescale is not None:
            changed = self._rescale(scaler.get_scale())
            state["_init_scale"] = changed
            if state["_scale"] is not None:
                state["_scale"].fill_(changed)

    def multiply(self, scale: Callable[..., Any], scaler: GradScaler, outputs: Any) -> Any:
        """``scaler.scale(outputs)``, remembered so that the loss behind the product is found."""
        self.meet(scaler)
        result = scale(scaler, outputs)
        if isinstance(outputs, Tensor) and scaler.is_enabled():
            self._products[id(result)] = result, outputs, scaler.get_scale()
        return result

    def behind(self, tensors: Any) -> tuple[Tensor, float | None]:
        """The loss that a backward call is made on, and the loss scale that was put on it."""
        root = tensors if isinstance(tensors, Tensor) else next(iter(tensors))
        _, loss, scale = self._products.pop(id(root), (root, root, None))
        return loss, scale

    def give_back(self) -> None:
        """Put every scaler back as it was met."""
        for scaler, state in self._met.values():
            scaler.__dict__.clear()
            scaler.__dict__.update(state)
        self._met.clear()
        self._products.clear()
