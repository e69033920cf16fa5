"""What can be wrong: one file per cause, in the order of precedence.

Structure before numbers, values before slopes: where one state fits several names, the earliest
in this tuple wins and the others fold under it.
"""

from unvanish.causes import (
    blind_spot,
    dead_units,
    depth_decay,
    depth_growth,
    detached,
    init_too_large,
    init_too_small,
    nonfinite_backward,
    nonfinite_forward,
    saturated_activation,
    symmetric_init,
    time_decay,
    time_growth,
    unregistered_module,
)
from unvanish.causes.cause import Cause

CAUSES: tuple[Cause, ...] = (
    unregistered_module.CAUSE,
    nonfinite_forward.CAUSE,
    nonfinite_backward.CAUSE,
    detached.CAUSE,
    symmetric_init.CAUSE,
    init_too_large.CAUSE,
    saturated_activation.CAUSE,
    dead_units.CAUSE,
    init_too_small.CAUSE,
    depth_growth.CAUSE,
    depth_decay.CAUSE,
    time_growth.CAUSE,
    time_decay.CAUSE,
    blind_spot.CAUSE,
)
