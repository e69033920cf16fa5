# The framework may be absent where types are checked, and describes few of its own.
# pyright: basic, reportMissingImports=false, reportGeneralTypeIssues=false, reportArgumentType=false
"""Lightning, watched by a callback, with automatic and with manual optimization.

    trainer = L.Trainer(callbacks=[UnvanishCallback("runs/first")])

Lightning steps an optimizer with a closure that runs forward and backward: gradients are read when
that closure is over, after Lightning's own clipping.
"""

from pathlib import Path
from typing import Any

from unvanish.errors import MissingExtra
from unvanish.watching.monitor import Monitor
from unvanish.watching.watch import watch

try:
    from lightning.pytorch.callbacks import Callback
except ImportError:
    try:
        from pytorch_lightning.callbacks import Callback
    except ImportError as error:
        raise MissingExtra("lightning is not installed: pip install lightning.") from error


class UnvanishCallback(Callback):
    """Watches every optimizer of a fit, each in a recording of its own.

    Args:
        to: folder for the recordings; ``None``: the Trainer's ``default_root_dir``/unvanish. Of
            several optimizers the second is recorded in its folder ``2`` and so on.
        options: what :func:`unvanish.watch` takes besides (``guard``, ``budget``, ``on_alarm``, ...).

    ``monitors`` are those of the last fit, in the order of the Trainer's optimizers.
    """

    def __init__(self, to: str | Path | None = None, **options: Any) -> None:
        super().__init__()
        self._to, self._options = to, options
        self.monitors: tuple[Monitor, ...] = ()

    @property
    def monitor(self) -> Monitor | None:
        """The first one."""
        return self.monitors[0] if self.monitors else None

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin to watch (called by Lightning)."""
        self._close()
        root = Path(trainer.default_root_dir) / "unvanish" if self._to is None else Path(self._to)
        self.monitors = tuple(
            watch(pl_module, optimizer, root / str(number) if number > 1 else root, **self._options)
            for number, optimizer in enumerate(trainer.optimizers, 1)
        )

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Finish the recordings (called by Lightning)."""
        self._close()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Finish them where training raised, too."""
        self._close()

    def _close(self) -> None:
        for monitor in self.monitors:
            monitor.close()
