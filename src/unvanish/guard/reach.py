"""Where a policy can act at all; said once where it cannot."""

import torch

from unvanish.guard.policy import Moment
from unvanish.shards import is_part


class Reach:
    """Whether a policy covers the training that it meets.

    Three places are out of reach. *Sharded parameters*: a rank holds a part of each tensor, its
    norms are not the tensor's, and ranks that decide alone part ways. *Closures* (LBFGS): the
    gradients are computed inside the step. *The loss under several processes*: each rank has
    one of its own; gradients are the same on all ranks under DDP, and policies that
    decide by gradients alone do the same on all.

    Args:
        policy: the name to speak under.
        by_loss: the policy decides by the loss.
    """

    def __init__(self, policy: str, *, by_loss: bool = False) -> None:
        self._policy = policy
        self._by_loss = by_loss
        self._said: set[str] = set()

    def covers(self, moment: Moment) -> bool:
        """Whether to go on; says why not, the first time."""
        why = self._why_not(moment)
        if why is not None:
            self.once(moment, why)
        return why is None

    def once(self, moment: Moment, words: str) -> None:
        """Say this, but only once in a training."""
        if words not in self._said:
            self._said.add(words)
            moment.say(self._policy, words)

    def _why_not(self, moment: Moment) -> str | None:
        divided = any(is_part(parameter) for parameter in moment.parameters.values())
        if "local-shard" in moment.reading.stage.split() or divided:
            return "does nothing here: the parameters are sharded, and each rank sees only its part"
        if isinstance(moment.optimizer, torch.optim.LBFGS):
            return "does nothing here: LBFGS computes its gradients inside the step"
        if self._by_loss and _processes() > 1:
            return "does nothing here: each process has a loss of its own, and they must act alike"
        return None


def _processes() -> int:
    distributed = torch.distributed
    if not distributed.is_available() or not distributed.is_initialized():
        return 1
    return distributed.get_world_size()
