"""Boards that follow a watch live: TensorBoard, Weights & Biases, MLflow, Trackio.

    unvanish.watch(model, optimizer, sinks=[unvanish.sinks.TensorBoard("runs/board")])

Every board gets at most some twenty rows of a few statistics: tensors are grouped by the leading
parts of their names. The recording keeps every tensor; a board is for a glance.
"""

from unvanish.recording.sinks.board import Board
from unvanish.recording.sinks.mlflow import MLflow
from unvanish.recording.sinks.tensorboard import TensorBoard
from unvanish.recording.sinks.trackio import Trackio
from unvanish.recording.sinks.wandb import WandB

__all__ = ["Board", "MLflow", "TensorBoard", "Trackio", "WandB"]
