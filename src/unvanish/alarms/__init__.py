"""The causes of the diagnosis as detectors over a running training."""

from unvanish.alarms.detector import Detector, Sign
from unvanish.alarms.listed import DETECTORS
from unvanish.alarms.stream import Alarms

__all__ = ["DETECTORS", "Alarms", "Detector", "Sign"]
