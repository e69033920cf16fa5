"""One pass over memory for every number that a watch reads of gradients and weights."""

from unvanish.watching.fused.passes import Passes
from unvanish.watching.fused.readings import GradientReadings, UpdateReadings

__all__ = ["GradientReadings", "Passes", "UpdateReadings"]
