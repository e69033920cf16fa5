"""Ultralytics YOLO: one line before ``train``.

    model = YOLO("yolo11n.yaml")
    unvanish.integrations.ultralytics.watch(model, "runs/unvanish")
    model.train(data="coco128.yaml", epochs=3)

Gradients are read at the step of the trainer's optimizer: unscaled, after its clipping at norm 10
(the factor is recorded beside them). The averaged weights and the scaler are the trainer's own.
"""

from pathlib import Path
from typing import Any

from unvanish.errors import BadInput
from unvanish.watching.monitor import Monitor
from unvanish.watching.watch import watch as watch_training


class Watch:
    """What :func:`watch` hands back; ``monitor`` is that of the last training, ``None`` before."""

    def __init__(self, to: str | Path | None, options: dict[str, Any]) -> None:
        self._to, self._options = to, options
        self.monitor: Monitor | None = None

    def begin(self, trainer: Any) -> None:
        """The trainer's ``on_train_start``: only now is its model the one that trains."""
        self.end(trainer)
        to = Path(trainer.save_dir) / "unvanish" if self._to is None else self._to
        self.monitor = watch_training(trainer.model, trainer.optimizer, to, **self._options)

    def end(self, trainer: Any) -> None:
        """The trainer's ``teardown``."""
        if self.monitor is not None:
            self.monitor.close()


def watch(model: Any, to: str | Path | None = None, **options: Any) -> Watch:
    """Watch every training of an Ultralytics model from now on.

    Args:
        model: ``ultralytics.YOLO(...)`` (or RTDETR and the like).
        to: folder for the recording; ``None``: the run's own folder, ``save_dir``/unvanish.
        options: what :func:`unvanish.watch` takes besides (``guard``, ``budget``, ``on_alarm``, ...).

    Raises:
        BadInput: not an Ultralytics model. (A training on several GPUs runs in processes of its own
            that callbacks do not reach: start it with ``unvanish run``.)
    """
    if not callable(getattr(model, "add_callback", None)):
        raise BadInput(
            f"model must be an Ultralytics model such as YOLO('yolo11n.yaml'), got {type(model).__name__}."
        )
    watching = Watch(to, options)
    model.add_callback("on_train_start", watching.begin)
    model.add_callback("on_train_end", watching.end)
    model.add_callback("teardown", watching.end)
    return watching
