"""Gradients that a step has used and nobody has cleared: they add to those of the next step."""

from collections.abc import Mapping

from torch import Tensor

from unvanish.signals import count_zeros


class Leftovers:
    """Follows ``.grad`` of some parameters from optimizer step to optimizer step.

    A gradient is stale at a step when it is still the tensor that the step before has used, when no
    backward pass met it empty or changed in between, and when one has added to it. So another
    model's loss may leave gradients here (a GAN's two turns) as long as they are cleared before
    this optimizer's own backward pass; a gradient that somebody decays by hand is not stale.
    """

    def __init__(self, parameters: Mapping[str, Tensor]) -> None:
        self._parameters = parameters
        self._used: dict[str, tuple[Tensor, int]] = {}
        self._grown: set[str] = set()

    def before_backward(self) -> None:
        """Forget what was cleared since: set to ``None``, zeroed, exchanged or changed by hand."""
        for name, (used, version) in list(self._used.items()):
            gradient = self._parameters[name].grad
            same = gradient is used and used._version == version
            if not same or count_zeros(used) == used.numel():
                del self._used[name]
                self._grown.discard(name)

    def after_backward(self) -> None:
        """Note what a backward pass has added to."""
        for name, (_, version) in list(self._used.items()):
            gradient = self._parameters[name].grad
            if gradient is None:
                del self._used[name]
            elif gradient is not self._used[name][0] or gradient._version != version:
                self._used[name] = gradient, gradient._version
                self._grown.add(name)

    def at_step(self) -> tuple[str, ...]:
        """The parameters whose gradient holds that of the step before."""
        return tuple(name for name in self._parameters if name in self._grown)

    def after_step(self) -> None:
        """All gradients are used now."""
        self._grown.clear()
        self._used = {
            name: (parameter.grad, parameter.grad._version)
            for name, parameter in self._parameters.items()
            if parameter.grad is not None
        }
