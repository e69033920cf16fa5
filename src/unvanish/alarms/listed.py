"""What is watched for, causes before their consequences."""

from unvanish.alarms import (
    always_clipped,
    cleared_gradients,
    dead_units,
    depth_profile,
    epsilon_dominated,
    half_precision_underflow,
    loss_scale_collapse,
    nonfinite,
    stale_gradients,
    step_too_large,
    step_too_small,
    stuck_saddle,
    weight_decay_dominates,
)
from unvanish.alarms.detector import Detector

DETECTORS: tuple[Detector, ...] = (
    stale_gradients.DETECTOR,
    cleared_gradients.DETECTOR,
    step_too_large.DETECTOR,
    nonfinite.FORWARD,
    nonfinite.BACKWARD,
    loss_scale_collapse.DETECTOR,
    half_precision_underflow.DETECTOR,
    stuck_saddle.DETECTOR,
    dead_units.DETECTOR,
    depth_profile.DECAY,
    depth_profile.GROWTH,
    weight_decay_dominates.DETECTOR,
    epsilon_dominated.DETECTOR,
    always_clipped.DETECTOR,
    step_too_small.DETECTOR,
)
