"""What a watched training leaves behind: numbers for each step and tensor, and what happened when."""

from unvanish.recording import sinks
from unvanish.recording.reader import Recording
from unvanish.recording.records import Event, StepReading, TensorEntry
from unvanish.recording.statistics import STATISTICS
from unvanish.recording.writer import Writer

__all__ = ["STATISTICS", "Event", "Recording", "StepReading", "TensorEntry", "Writer", "sinks"]
