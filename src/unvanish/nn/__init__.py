"""Activations and blocks that keep the gradient's scale under control: ordinary torch modules.

Each can be used alone, and each says in its docstring when it harms. What they are for, measured
with and without: ``docs/nn.md``.
"""

from unvanish.nn.extended import extend_ as extend_
from unvanish.nn.gated_residual import GatedResidual as GatedResidual
from unvanish.nn.gradient_valve import GradientValve as GradientValve
from unvanish.nn.gradient_valve import ValveReport as ValveReport
from unvanish.nn.homeostatic import Homeostatic as Homeostatic
from unvanish.nn.homeostatic import Regulation as Regulation
from unvanish.nn.homeostatic import regulate_ as regulate_
from unvanish.nn.rational import Rational as Rational
from unvanish.nn.recurrent import ChronoLSTM as ChronoLSTM
from unvanish.nn.recurrent import RegulatedRNN as RegulatedRNN
from unvanish.nn.recurrent_stand_in import LSTMLikeRNN as LSTMLikeRNN
from unvanish.nn.shaped import ShapedActivation as ShapedActivation
from unvanish.nn.shaped import TailoredActivation as TailoredActivation
from unvanish.nn.skip import Skip as Skip
from unvanish.nn.skip import SkipSequential as SkipSequential
from unvanish.nn.standardize import Standardize as Standardize
from unvanish.nn.swish import Swish as Swish
from unvanish.nn.swish import TailoredSwish as TailoredSwish
from unvanish.nn.tailored import TailoredLeakyReLU as TailoredLeakyReLU
from unvanish.nn.tailored import TailoredPReLU as TailoredPReLU

__all__ = [
    "ChronoLSTM",
    "GatedResidual",
    "GradientValve",
    "Homeostatic",
    "LSTMLikeRNN",
    "Rational",
    "RegulatedRNN",
    "Regulation",
    "ShapedActivation",
    "Skip",
    "SkipSequential",
    "Standardize",
    "Swish",
    "TailoredActivation",
    "TailoredLeakyReLU",
    "TailoredPReLU",
    "TailoredSwish",
    "ValveReport",
    "extend_",
    "regulate_",
]
