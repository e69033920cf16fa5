"""One small program for each finding, beside its healthy twin: to try, to read, to learn from.

    unvanish diagnose unvanish.lessons.depth_decay:sick
    unvanish diagnose unvanish.lessons.depth_decay:well

``LESSONS``: one file for each cause in ``unvanish.causes.CAUSES``, under the same name and in the
same order; only ``look-alike`` has none, as it is never a finding. ``SUBJECTS``: what is taught
besides (batch norm, skips, very deep nets, ...), each by a program in which a cause is found as well.
"""

import difflib

from unvanish.errors import BadInput
from unvanish.lessons import (
    adaptive,
    always_clipped,
    batch_norm,
    blind_spot,
    broadcast_loss,
    chaotic_signal,
    clip_before_unscale,
    collapsed_signal,
    dead_units,
    depth_decay,
    depth_growth,
    detached,
    detector,
    double_softmax,
    epsilon_dominated,
    false_alarms,
    frozen_by_checkpoint,
    half_precision_underflow,
    half_precision_weights,
    init_too_large,
    init_too_small,
    leaky_kin,
    loss_scale_collapse,
    mirrored,
    no_nonlinearity,
    nonfinite_backward,
    nonfinite_forward,
    not_in_optimizer,
    nothing_to_learn,
    nothing_trainable,
    post_norm_depth,
    residual,
    saturated_activation,
    self_regulating,
    single_unit_softmax,
    stale_gradients,
    step_too_large,
    step_too_small,
    stuck_saddle,
    symmetric_init,
    ten_thousand,
    time_decay,
    time_growth,
    unfit_loss,
    unregistered_module,
    unscaled_accumulation,
    unscaled_input,
    unscaled_target,
    weight_decay_dominates,
    wiring,
    wrong_sign,
)
from unvanish.lessons.lesson import Lesson

LESSONS: tuple[Lesson, ...] = (
    nothing_trainable.LESSON,
    unregistered_module.LESSON,
    nonfinite_forward.LESSON,
    nonfinite_backward.LESSON,
    loss_scale_collapse.LESSON,
    half_precision_underflow.LESSON,
    single_unit_softmax.LESSON,
    frozen_by_checkpoint.LESSON,
    detached.LESSON,
    not_in_optimizer.LESSON,
    broadcast_loss.LESSON,
    symmetric_init.LESSON,
    stuck_saddle.LESSON,
    double_softmax.LESSON,
    no_nonlinearity.LESSON,
    post_norm_depth.LESSON,
    half_precision_weights.LESSON,
    clip_before_unscale.LESSON,
    stale_gradients.LESSON,
    wrong_sign.LESSON,
    unscaled_accumulation.LESSON,
    unfit_loss.LESSON,
    unscaled_input.LESSON,
    step_too_large.LESSON,
    unscaled_target.LESSON,
    weight_decay_dominates.LESSON,
    init_too_large.LESSON,
    saturated_activation.LESSON,
    dead_units.LESSON,
    init_too_small.LESSON,
    collapsed_signal.LESSON,
    chaotic_signal.LESSON,
    depth_growth.LESSON,
    depth_decay.LESSON,
    time_growth.LESSON,
    time_decay.LESSON,
    epsilon_dominated.LESSON,
    always_clipped.LESSON,
    step_too_small.LESSON,
    nothing_to_learn.LESSON,
    blind_spot.LESSON,
)


SUBJECTS: tuple[Lesson, ...] = (
    leaky_kin.LESSON,
    mirrored.LESSON,
    batch_norm.LESSON,
    residual.LESSON,
    wiring.LESSON,
    false_alarms.LESSON,
    adaptive.LESSON,
    self_regulating.LESSON,
    ten_thousand.LESSON,
    detector.LESSON,
)

ALL: tuple[Lesson, ...] = (*LESSONS, *SUBJECTS)


def lesson(name: str) -> Lesson:
    """A lesson by the finding it is on (``"depth-decay"``), or by its file (``"depth_decay"``).

    Raises:
        BadInput: there is no such lesson; the message lists the nearest names.

    >>> lesson("depth-decay").title
    'Twenty sigmoids'
    """
    lessons = {one.page: one for one in ALL}
    asked = name.strip().lower().replace("_", "-")
    if asked not in lessons:
        near = difflib.get_close_matches(asked, lessons, n=3, cutoff=0.3)
        hint = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(lessons)}."
        raise BadInput(f"there is no lesson named {name!r}: {hint}")
    return lessons[asked]
