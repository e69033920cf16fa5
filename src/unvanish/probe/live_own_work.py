"""Our own work in somebody's running training: timed, and none of its failures passed on."""

import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._python_dispatch import (
    _disable_current_modes,  # pyright: ignore[reportPrivateUsage]
)

if TYPE_CHECKING:
    from unvanish.probe.live import LiveLook


class OwnWork:
    """Our own work: timed, unseen by the program's modes, and what it raises ends the look only."""

    __slots__ = ("_look", "_modes", "_quiet", "_started")

    def __init__(self, look: "LiveLook") -> None:
        self._look, self._quiet = look, torch._C.DisableTorchFunction()
        self._modes: Any = None
        self._started: float | None = None

    def __enter__(self) -> None:
        if not self._look.working:  # work inside of work is timed already
            self._look.working = True
            self._started = time.perf_counter()
        self._quiet.__enter__()
        if torch._C._len_torch_dispatch_stack():  # a counter of operations, of memory
            self._modes = _disable_current_modes()
            self._modes.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if self._modes is not None:
            self._modes.__exit__(None, None, None)
        self._quiet.__exit__(kind, error, traceback)
        if self._started is not None:
            self._look.working = False
            self._look.seconds += time.perf_counter() - self._started
        if not isinstance(error, Exception):
            return False
        said = (str(error).strip().splitlines() or [""])[0]
        self._look.stop(f"the look itself failed: {said} ({kind.__name__ if kind else ''})")
        return True
