"""Does the gradient arrive? Where is it lost, why, and what is the smallest change that cures it?

    diagnosis = unvanish.diagnose(model, data, loss)
    print(diagnosis)

Everything here is loaded on first use: ``import unvanish`` does nothing else.
"""

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unvanish import guard as guard
    from unvanish import init as init
    from unvanish import nn as nn
    from unvanish import surgery as surgery
    from unvanish import theory as theory
    from unvanish.causes import explain as explain
    from unvanish.diagnosing import diagnose as diagnose
    from unvanish.diagnosis import Diagnosis as Diagnosis
    from unvanish.diagnosis import Finding as Finding
    from unvanish.errors import UnvanishError as UnvanishError
    from unvanish.lessons.teach import teach as teach
    from unvanish.prediction import Prediction as Prediction
    from unvanish.prediction import predict as predict
    from unvanish.probe.observe import observe as observe
    from unvanish.recording import sinks as sinks
    from unvanish.recording.reader import Recording as Recording
    from unvanish.trace import Trace as Trace
    from unvanish.treatment.record import Treatment as Treatment
    from unvanish.treatment.treat import treat as treat
    from unvanish.trial.compare import compare as compare
    from unvanish.trial.verdict import Verdict as Verdict
    from unvanish.watching.watch import watch as watch

__version__ = "0.1.0"

_HOME = {
    "Diagnosis": "unvanish.diagnosis",
    "Finding": "unvanish.diagnosis",
    "Prediction": "unvanish.prediction",
    "Recording": "unvanish.recording.reader",
    "Trace": "unvanish.trace",
    "Treatment": "unvanish.treatment.record",
    "UnvanishError": "unvanish.errors",
    "Verdict": "unvanish.trial.verdict",
    "compare": "unvanish.trial.compare",
    "diagnose": "unvanish.diagnosing",
    "explain": "unvanish.causes",
    "guard": "unvanish.guard",
    "init": "unvanish.init",
    "nn": "unvanish.nn",
    "observe": "unvanish.probe.observe",
    "predict": "unvanish.prediction",
    "sinks": "unvanish.recording",
    "surgery": "unvanish.surgery",
    "teach": "unvanish.lessons.teach",
    "theory": "unvanish.theory",
    "treat": "unvanish.treatment.treat",
    "watch": "unvanish.watching.watch",
}

__all__ = [
    "Diagnosis",
    "Finding",
    "Prediction",
    "Recording",
    "Trace",
    "Treatment",
    "UnvanishError",
    "Verdict",
    "compare",
    "diagnose",
    "explain",
    "guard",
    "init",
    "nn",
    "observe",
    "predict",
    "sinks",
    "surgery",
    "teach",
    "theory",
    "treat",
    "watch",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'unvanish' has no attribute {name!r}")
    generator = sys.modules.get("random")
    state: Any = generator.getstate() if generator is not None else None
    try:
        home = importlib.import_module(_HOME[name])
    finally:
        if (
            generator is not None
        ):  # rich draws numbers while it is imported: they are not the user's
            generator.setstate(state)
    return home if home.__name__ == f"{__name__}.{name}" else getattr(home, name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
