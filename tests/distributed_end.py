"""How a script of several processes ends that nobody but a test runs."""

import os
import sys


def leave() -> None:
    """End without Python taking itself down.

    A thread of torch's that comes back to Python while it does aborts the process ("terminate
    called without an active exception"): one in fifty busy runs of FSDP1 on gloo, with no watch.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
