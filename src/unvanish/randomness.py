"""Random numbers that are drawn here are none of the user's: their generators are as before."""

import contextlib
import random
import sys
from collections.abc import Generator
from typing import Any

import torch


@contextlib.contextmanager
def random_state_kept() -> Generator[None]:
    """Whatever is drawn inside, Python, numpy and torch draw outside as if it had not been."""
    numpy_random = getattr(
        sys.modules.get("numpy"), "random", None
    )  # not imported: nothing to keep
    python_state = random.getstate()
    numpy_state: Any = numpy_random.get_state() if numpy_random is not None else None
    mps: Any = torch.mps.get_rng_state() if torch.backends.mps.is_available() else None
    # Seeding an uninitialised CUDA would be queued and change its first numbers later on.
    cuda = torch.cuda.is_initialized()
    with torch.random.fork_rng(devices=list(range(torch.cuda.device_count())) if cuda else []):
        try:
            yield
        finally:
            random.setstate(python_state)
            if numpy_random is not None:
                numpy_random.set_state(numpy_state)
            if mps is not None:
                torch.mps.set_rng_state(mps)


@contextlib.contextmanager
def seeded(seed: int) -> Generator[None]:
    """Seed Python, numpy and torch inside; put their states back outside."""
    with random_state_kept():
        seed_all(seed)
        yield


def seed_all(seed: int) -> None:
    """Seed every generator that :func:`random_state_kept` gives back."""
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)
    if torch.backends.mps.is_available():
        torch.mps.manual_seed(seed)
    random.seed(seed)
    numpy_random = getattr(sys.modules.get("numpy"), "random", None)
    if numpy_random is not None:
        numpy_random.seed(seed % 2**32)
