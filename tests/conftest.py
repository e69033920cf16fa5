"""What every test and every process that a test starts needs."""

import importlib.util
import os
from pathlib import Path

SUPPORT = Path(__file__).parent / "support"

# Before anything imports torchvision, and in child processes by the name that Python looks for.
_spec = importlib.util.spec_from_file_location("torchvision_beside", SUPPORT / "sitecustomize.py")
assert _spec is not None
assert _spec.loader is not None
_spec.loader.exec_module(importlib.util.module_from_spec(_spec))
_paths = [str(SUPPORT), *filter(None, [os.environ.get("PYTHONPATH")])]
os.environ["PYTHONPATH"] = os.pathsep.join(_paths)

# What the tests read is English, whatever the machine they run on speaks.
os.environ["UNVANISH_LANGUAGE"] = "en"

# Keras reads it when it is imported, and another backend than torch is nothing to this package.
os.environ.setdefault("KERAS_BACKEND", "torch")
