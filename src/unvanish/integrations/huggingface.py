# The framework may be absent where types are checked, and describes few of its own.
# pyright: basic, reportMissingImports=false, reportGeneralTypeIssues=false, reportArgumentType=false
"""Hugging Face ``transformers.Trainer`` (and what builds on it: TRL, PEFT), watched by a callback.

    trainer = Trainer(..., callbacks=[UnvanishCallback("runs/first")])

Gradients are read at the step of the optimizer inside of Accelerate's: complete over all
micro-batches, unscaled, after clipping (what it multiplied them by is recorded beside them).
"""

from pathlib import Path
from typing import Any

from unvanish.errors import MissingExtra
from unvanish.watching.monitor import Monitor
from unvanish.watching.watch import watch

try:
    from transformers import TrainerCallback
except ImportError as error:
    raise MissingExtra(
        "transformers is not installed: pip install transformers accelerate."
    ) from error


class UnvanishCallback(TrainerCallback):
    """Watches from the beginning of ``train()`` to its end.

    Args:
        to: folder for the recording; ``None``: the Trainer's ``output_dir``/unvanish.
        options: what :func:`unvanish.watch` takes besides (``guard``, ``budget``, ``on_alarm``, ...).

    ``monitor`` is that of the last training, ``None`` before.
    """

    def __init__(self, to: str | Path | None = None, **options: Any) -> None:
        self._to, self._options = to, options
        self.monitor: Monitor | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Begin to watch (called by the Trainer, with model and optimizer in place)."""
        self._close()
        to = Path(args.output_dir) / "unvanish" if self._to is None else self._to
        self.monitor = watch(given["model"], given["optimizer"], to, **self._options)

    def on_train_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Finish the recording (called by the Trainer)."""
        self._close()

    def _close(self) -> None:
        if self.monitor is not None:
            self.monitor.close()
