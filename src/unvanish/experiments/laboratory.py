"""The experiments that causes may ask for, and the laboratory that has none."""

from collections.abc import Mapping, Sequence

from unvanish.experiments.altered_data import Scale
from unvanish.experiments.held_out import HeldOut
from unvanish.experiments.mixing import Mixed
from unvanish.experiments.rehearsal import Rehearsal
from unvanish.trace import Activation, Trace
from unvanish.training.record import LoopRecord


class Laboratory:
    """Experiments a cause may ask for; each runs on a copy, ``None``: it could not be run.

    This one has nothing to run them with (the diagnosis of a trace without its model): every
    answer is ``None``.
    """

    allowed: int = 0
    """Real steps that the user granted."""
    stepped: bool = False
    """Whether steps were taken with the user's optimizer before."""

    @property
    def rate_rises(self) -> bool | None:
        """Whether a scheduler will raise the rate above what it is now (``None``: not known)."""
        return None

    @property
    def samples(self) -> int | None:
        """Samples of the first batch, where inputs and targets can be taken apart by sample."""
        return None

    def after_steps(self, steps: int) -> Trace | None:
        """The trace of a copy after a few real optimizer steps on the same data."""
        return None

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
        """Real steps with a copy of the user's own optimizer.

        Args:
            rate: factor on every group's learning rate.
            decay: keep weight decay.
            momentum: keep momentum (``False``: a group's ``momentum`` and first beta are zero).
            share: of the granted steps to take (at least one).
            scaled: ``"inputs"``, ``"targets"`` or both: bring these to zero mean and unit variance.
                What the optimizer remembers is of the data as they were, so it begins anew.
            fresh: let the optimizer begin anew all the same, to compare with that.
            factors: what to multiply parameters by before the first step, by name.
            lifted: parameters whose groups step at the largest rate of all groups.

        Returns:
            The record; ``None`` without an optimizer, or where the steps could not be taken.
        """
        return None

    def held_out(
        self,
        steps: int | None = None,
        factors: Mapping[str, float] | None = None,
        rate: float = 1.0,
    ) -> HeldOut | None:
        """Whether what a copy learns on half of the samples says anything about the rest.

        ``steps`` are taken whatever was granted (``None``: those that were granted); ``factors``
        multiply parameters of the copy, by name, before the first, and ``rate`` the step size.
        """
        return None

    def shuffled_ratio(self) -> float | None:
        """Loss over the loss with the targets given to the wrong samples (1: nothing is known)."""
        return None

    def redrawn_ratio(self) -> float | None:
        """Loss over the loss with the entries of every weight tensor in another order."""
        return None

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
        """Steps until a copy knows this share of its targets; infinite where ``most`` are too few.

        Share: one minus the loss over that with shuffled targets. ``rate`` multiplies the user's
        step size; ``even``: with Adam's default step, the same for all weights; ``parts``: each
        batch is as many smaller ones; ``lasting``: and knows it after twice the steps as well.
        """
        return None

    def data_scale(self, part: str) -> Scale | None:
        """Scale of the float values among the first batch's ``"inputs"`` or ``"targets"``."""
        return None

    def out_of_reach(self, low: float, high: float) -> float | None:
        """Share of the float targets' variance that no output between two bounds can meet."""
        return None

    def with_inputs_scaled(self) -> Trace | None:
        """The trace with float inputs at zero mean and unit variance."""
        return None

    def with_neutral_init(self, activations: Sequence[Activation]) -> Trace | None:
        """The trace with weights that neither amplify nor attenuate before these activations."""
        return None

    def with_weights_redrawn(self, seed: int) -> Trace | None:
        """The trace with the entries of every weight tensor in another order."""
        return None

    def loss_follows(self, names: Sequence[str]) -> bool | None:
        """Whether the loss changes with the values of these parameters."""
        return None

    def falls_with_misfit(self) -> bool | None:
        """Whether the loss falls as outputs go away from the batch (``None``: nothing to ask of)."""
        return None

    def mixed_at(self) -> Mixed | None:
        """Where answers begin to depend on the other samples of the batch; ``None``: not seen."""
        return None

    def jacobian_spread(self) -> float | None:
        """Standard deviation of the logarithm of the end-to-end Jacobian's singular values."""
        return None

    def with_loss_scaled(self, factor: float) -> Trace | None:
        """The trace with the loss multiplied by ``factor``."""
        return None

    def loop(
        self,
        *,
        scale_factor: float = 1.0,
        scale_to: float | None = None,
        clip: bool = True,
        divide: float = 1.0,
    ) -> LoopRecord | None:
        """Calls of the user's own training step on copies (``None``: none was given)."""
        return None
