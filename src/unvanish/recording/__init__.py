"""What a watched training leaves behind: numbers for each step and tensor, and what happened when."""

from unvanish.recording.records import Event, StepReading, TensorEntry
from unvanish.recording.statistics import STATISTICS

__all__ = ["STATISTICS", "Event", "StepReading", "TensorEntry"]
