"""Python's cycle collector, kept from a growing heap of records."""

import contextlib
import gc
from collections.abc import Generator


@contextlib.contextmanager
def collector_paused() -> Generator[None]:
    """Keep Python's cycle collector from going through a growing heap of records again and again.

    It would make the cost of an observation grow faster than the number of ops.
    """
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()
