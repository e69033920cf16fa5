"""What can be wrong: one file per cause, in the order of precedence.

Structure before numbers, values before slopes: where one state fits several names, the earliest
in this tuple wins and the others fold under it.
"""

import difflib

from unvanish.cards import Card
from unvanish.causes import (
    always_clipped,
    blind_spot,
    broadcast_loss,
    chaotic_signal,
    clip_before_unscale,
    collapsed_signal,
    dead_units,
    depth_decay,
    depth_growth,
    detached,
    double_softmax,
    epsilon_dominated,
    frozen_by_checkpoint,
    half_precision_underflow,
    half_precision_weights,
    init_too_large,
    init_too_small,
    look_alikes,
    loss_scale_collapse,
    no_nonlinearity,
    nonfinite_backward,
    nonfinite_forward,
    not_in_optimizer,
    nothing_to_learn,
    nothing_trainable,
    post_norm_depth,
    saturated_activation,
    single_unit_softmax,
    stale_gradients,
    step_too_large,
    step_too_small,
    stuck_saddle,
    symmetric_init,
    time_decay,
    time_growth,
    unfit_loss,
    unregistered_module,
    unscaled_accumulation,
    unscaled_input,
    unscaled_target,
    weight_decay_dominates,
    wrong_sign,
)
from unvanish.causes.cause import Cause
from unvanish.errors import BadInput

CAUSES: tuple[Cause, ...] = (
    nothing_trainable.CAUSE,
    unregistered_module.CAUSE,
    nonfinite_forward.CAUSE,
    nonfinite_backward.CAUSE,
    loss_scale_collapse.CAUSE,
    half_precision_underflow.CAUSE,
    single_unit_softmax.CAUSE,
    frozen_by_checkpoint.CAUSE,
    detached.CAUSE,
    not_in_optimizer.CAUSE,
    broadcast_loss.CAUSE,
    symmetric_init.CAUSE,
    stuck_saddle.CAUSE,
    double_softmax.CAUSE,
    no_nonlinearity.CAUSE,
    post_norm_depth.CAUSE,
    half_precision_weights.CAUSE,
    clip_before_unscale.CAUSE,
    stale_gradients.CAUSE,
    wrong_sign.CAUSE,
    unscaled_accumulation.CAUSE,
    unfit_loss.CAUSE,
    unscaled_input.CAUSE,
    step_too_large.CAUSE,
    unscaled_target.CAUSE,
    weight_decay_dominates.CAUSE,
    init_too_large.CAUSE,
    saturated_activation.CAUSE,
    dead_units.CAUSE,
    init_too_small.CAUSE,
    collapsed_signal.CAUSE,
    chaotic_signal.CAUSE,
    depth_growth.CAUSE,
    depth_decay.CAUSE,
    time_growth.CAUSE,
    time_decay.CAUSE,
    epsilon_dominated.CAUSE,
    always_clipped.CAUSE,
    step_too_small.CAUSE,
    nothing_to_learn.CAUSE,
    look_alikes.CAUSE,
    blind_spot.CAUSE,
)


def explain(name: str) -> Card:
    """The card of a finding by name (``"depth-decay"``) or code (``"UV301"``).

    Raises:
        BadInput: there is no such card; the message lists the nearest names.

    >>> explain("UV301").name
    'depth-decay'
    """
    cards = {cause.card.name: cause.card for cause in CAUSES}
    by_code = {card.code: card for card in cards.values()}
    found = cards.get(name.strip().lower()) or by_code.get(name.strip().upper())
    if found is None:
        near = difflib.get_close_matches(name, cards, n=3, cutoff=0.3)
        hint = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(sorted(cards))}."
        raise BadInput(f"there is no card named {name!r}: {hint}")
    return found
