"""Policies that act on a running training, each off until asked for.

>>> from unvanish import guard
>>> [policy.name for policy in guard.from_argument("skip-nonfinite")]
['skip-nonfinite']

What each does, what it costs a healthy training, and for which faults nothing helps: ``docs/guard.md``.
"""

from unvanish.errors import TrainingStopped as TrainingStopped
from unvanish.guard.agc import AGC as AGC
from unvanish.guard.autoclip import AutoClip as AutoClip
from unvanish.guard.choice import POLICIES as POLICIES
from unvanish.guard.choice import by_name as by_name
from unvanish.guard.choice import from_argument as from_argument
from unvanish.guard.layer_balance import LayerBalance as LayerBalance
from unvanish.guard.loss_scale_rescue import LossScaleRescue as LossScaleRescue
from unvanish.guard.policy import Act as Act
from unvanish.guard.policy import Moment as Moment
from unvanish.guard.policy import Policy as Policy
from unvanish.guard.policy import ScalePolicy as ScalePolicy
from unvanish.guard.policy import ScaleUpdate as ScaleUpdate
from unvanish.guard.rate_back_off import RateBackOff as RateBackOff
from unvanish.guard.roll_back import RollBack as RollBack
from unvanish.guard.skip_nonfinite import SkipNonfinite as SkipNonfinite
from unvanish.guard.zclip import ZClip as ZClip

__all__ = [
    "AGC",
    "Act",
    "AutoClip",
    "LayerBalance",
    "LossScaleRescue",
    "Moment",
    "POLICIES",
    "Policy",
    "RateBackOff",
    "RollBack",
    "ScalePolicy",
    "ScaleUpdate",
    "SkipNonfinite",
    "TrainingStopped",
    "ZClip",
    "by_name",
    "from_argument",
]
