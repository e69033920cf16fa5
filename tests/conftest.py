"""What every test and every process that a test starts needs."""

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

SUPPORT = Path(__file__).parent / "support"

# Before anything imports torchvision, and in child processes by the name that Python looks for.
_spec = importlib.util.spec_from_file_location("torchvision_beside", SUPPORT / "sitecustomize.py")
assert _spec is not None
assert _spec.loader is not None
_spec.loader.exec_module(importlib.util.module_from_spec(_spec))
_paths = [str(SUPPORT), *filter(None, [os.environ.get("PYTHONPATH")])]
os.environ["PYTHONPATH"] = os.pathsep.join(_paths)

# No test is timed: machines are shared, and one that waits for a processor is no failure.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# What the tests read is English, whatever the machine they run on speaks.
os.environ["UNVANISH_LANGUAGE"] = "en"

# Keras reads it when it is imported, and another backend than torch is nothing to this package.
os.environ.setdefault("KERAS_BACKEND", "torch")


@pytest.fixture(autouse=True)
def nobody_listens_afterwards() -> Iterator[None]:
    """A watch that a test forgot to close would go on reading in every test after it."""
    yield
    listening = sys.modules.get("unvanish.watching.listening")
    if listening is not None:
        left = listening.LISTENING._listeners
        for listener in left:
            listening.LISTENING.remove(listener)
        assert not left, f"{len(left)} watch(es) were left open: close() them"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, one for the tests of a file."""
    from browsers import chromium

    with chromium() as running:
        yield running
