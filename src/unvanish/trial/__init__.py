"""Trial: control and treated on the same seeds and batches, and a verdict on what came out."""

from unvanish.trial.arm import Arm
from unvanish.trial.compare import compare
from unvanish.trial.running import Run, Running, train
from unvanish.trial.task import Task, prepare
from unvanish.trial.verdict import Verdict

__all__ = ["Arm", "Run", "Running", "Task", "Verdict", "compare", "prepare", "train"]
