"""What can be done: one file per remedy (or small family), the smallest intervention first."""

import difflib

from unvanish.errors import BadInput
from unvanish.remedies import (
    activations,
    advised,
    clip,
    complete_optimizer,
    epsilon,
    flip_sign,
    gated_residual,
    insert_activation,
    match_shapes,
    non_reentrant,
    norms,
    orthogonal,
    output_layer,
    pre_norm,
    recurrent,
    recurrent_cell,
    register_modules,
    reinitialize,
    rewire,
    scale_input,
    scale_loss,
    scale_residual,
    scale_target,
    step_size,
    training_step,
    unfreeze,
    wake_one_factor,
    warm_up,
    weight_decay,
)
from unvanish.remedies.remedy import Remedy, RemedyCard

REMEDIES: tuple[Remedy, ...] = (
    unfreeze.REMEDY,
    complete_optimizer.REMEDY,
    non_reentrant.REMEDY,
    rewire.REMEDY,
    register_modules.REMEDY,
    flip_sign.REMEDY,
    match_shapes.REMEDY,
    output_layer.DROP_SOFTMAX,
    output_layer.SINGLE_LOGIT,
    output_layer.LOGITS_LOSS,
    training_step.CLEAR_GRADIENTS,
    training_step.AVERAGE_ACCUMULATION,
    scale_input.REMEDY,
    scale_target.REMEDY,
    step_size.REMEDY,
    scale_loss.REMEDY,
    epsilon.OPTIMIZER_EPSILON,
    epsilon.LARGER_LOSS,
    weight_decay.REMEDY,
    clip.REMEDY,
    warm_up.REMEDY,
    recurrent.OPEN_GATES,
    recurrent.RECURRENT_INITIALIZATION,
    wake_one_factor.REMEDY,
    reinitialize.REMEDY,
    orthogonal.REMEDY,
    scale_residual.REMEDY,
    activations.TAILORED_ACTIVATION,
    activations.SWAP_ACTIVATION,
    insert_activation.REMEDY,
    norms.REMOVE_NORM,
    norms.INSERT_NORM,
    pre_norm.REMEDY,
    gated_residual.REMEDY,
    recurrent_cell.REMEDY,
    advised.GUARD_OPERATION,
    advised.FULL_PRECISION_WEIGHTS,
    training_step.UNSCALE_FIRST,
    training_step.RAISE_CLIP_LIMIT,
    advised.CHECKED_DATA,
)


def explain_remedy(name: str) -> RemedyCard:
    """The card of a remedy by its name.

    Raises:
        BadInput: there is no such remedy; the message lists the nearest names.

    >>> explain_remedy("gate-bias").title
    'forget gates that start open'
    """
    cards = {remedy.card.name: remedy.card for remedy in REMEDIES}
    found = cards.get(name.strip().lower())
    if found is None:
        near = difflib.get_close_matches(name, cards, n=3, cutoff=0.3)
        hint = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(cards)}."
        raise BadInput(f"there is no remedy named {name!r}: {hint}")
    return found
