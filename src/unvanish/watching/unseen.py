"""The diagnosis of a training of which no step could be observed in full yet."""

import platform

import torch
from torch import nn

from unvanish import __version__
from unvanish.diagnosis import Diagnosis
from unvanish.trace import Conditions, Trace


def nothing_seen(model: nn.Module, reason: str) -> Diagnosis:
    """No finding, and one blind spot that says why: absent is never healthy."""
    parameters = list(model.parameters())
    conditions = Conditions(
        unvanish=__version__,
        torch=torch.__version__,
        python=platform.python_version(),
        device=str(parameters[0].device) if parameters else "cpu",
        dtypes=tuple(sorted({str(p.dtype).removeprefix("torch.") for p in parameters})),
        training=model.training,
        seed=0,
        batches=0,
        batch_size=None,
        loss=None,
        losses=(),
        parameters=sum(p.numel() for p in parameters),
        trainable=sum(p.numel() for p in parameters if p.requires_grad),
        modules=sum(1 for _ in model.modules()),
        inputs_differentiated=False,
    )
    unseen = (f"no step was observed in full: {reason}",)
    trace = Trace(
        ops=(),
        trunk=(),
        layers=(),
        parameters=(),
        activations=(),
        profiles=(),
        cuts=(),
        strangers=(),
        nonfinite=(),
        operations=(),
        loss_operation=None,
        conditions=conditions,
        unseen=unseen,
    )
    return Diagnosis(findings=(), expected=(), ruled_out=(), blind_spots=unseen, trace=trace)
