"""Why a model cannot be looked at while it trains."""

import torch
from torch import nn
from torch.nn.parameter import UninitializedParameter

from unvanish.shards import divides, is_part


def cannot_be_seen(model: nn.Module) -> str | None:
    """One sentence, or ``None`` where it can be."""
    for name, module in model.named_modules():
        compiled = getattr(module, "_compiled_call_impl", None) is not None
        if compiled or isinstance(getattr(module, "_orig_mod", None), nn.Module):
            return (
                f"not available: {name or 'the model'} is compiled, and what runs inside of "
                "compiled code cannot be seen op by op"
            )
        if divides(module):
            return "not available: the parameters are sharded over processes (FSDP)"
    for name, parameter in model.named_parameters():
        if isinstance(parameter, UninitializedParameter):
            return f"not available: parameter {name} is not initialised yet (a lazy module)"
        if is_part(parameter):
            return "not available: the parameters are sharded over processes (DTensor)"
        if parameter.device.type == "meta":
            return f"not available: parameter {name} is on the meta device and has no values"
    return None


def cannot_be_seen_now() -> str | None:
    """Why nothing may be read from tensors at this moment, or ``None``."""
    if torch.cuda.is_available() and torch.cuda.is_current_stream_capturing():
        return "not available: a CUDA graph is being captured"
    if torch._C._are_functorch_transforms_active():
        return "not available: the model runs inside of a torch.func transform"
    return None
