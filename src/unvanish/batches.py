"""What users pass as ``data``, ``inputs``, ``loss`` and ``forward``, made uniform.

A tuple is always one batch; anything else that iterates is a sequence of batches. ``inputs`` may
be a tensor, a tuple (positional arguments) or a mapping (keyword arguments).
"""

import contextlib
import copy
import inspect
import itertools
from collections import UserDict
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from unvanish.errors import BadInput
from unvanish.randomness import random_state_kept
from unvanish.shards import divides, is_part

Loss = Callable[[Any, Any], Tensor]
Forward = Callable[[nn.Module, Any], Tensor]


def take_batches(data: Any, most: int) -> list[Any]:
    """The first ``most`` batches of ``data``; random numbers that are drawn for it are given back.

    Raises:
        BadInput: data is no batch and cannot be iterated, or holds no batch.
    """
    if isinstance(data, tuple | Tensor | Mapping):
        return [data]
    if not isinstance(data, Iterable):
        raise BadInput(
            f"data must be one batch, a tuple (inputs, targets), or an iterable of batches; "
            f"got {type(data).__name__}."
        )
    with random_state_kept(), _own_generators_kept(data):
        batches = list(itertools.islice(cast(Iterable[Any], data), most))
    if not batches:
        raise BadInput("data is empty: it yielded no batch; pass a tuple (inputs, targets).")
    return batches


@contextlib.contextmanager
def _own_generators_kept(data: Any) -> Generator[None]:
    """The generators that a loader, or what samples for it, was given by the user."""
    holders = (data, getattr(data, "sampler", None))
    given = [getattr(holder, "generator", None) for holder in holders]
    states = [(g, g.get_state()) for g in given if isinstance(g, torch.Generator)]
    try:
        yield
    finally:
        for generator, state in states:
            generator.set_state(state)


def is_pair(batch: Any) -> bool:
    """Whether a batch is inputs and targets: a tuple of two, or a list as a loader collates it."""
    return isinstance(batch, tuple | list) and len(cast(list[Any], batch)) == 2


def split_batch(batch: Any) -> tuple[Any, Any]:
    """``(inputs, targets)`` of a batch that goes to ``loss(outputs, targets)``.

    Raises:
        BadInput: the batch is not a pair.
    """
    if is_pair(batch):
        inputs, targets = cast(tuple[Any, Any], batch)
        return inputs, targets
    length = f" of length {len(batch)}" if isinstance(batch, tuple | list) else ""
    raise BadInput(
        f"data: a batch must be a pair (inputs, targets), got {type(batch).__name__}{length}; "
        "for any other step pass forward=lambda model, batch: loss."
    )


def call_model(model: nn.Module, inputs: Any) -> Any:
    """The model on one batch of inputs: positional for a tuple, keywords for a mapping.

    A mapping whose keys are no keywords of ``forward`` is handed over whole, if that takes it.
    """
    if isinstance(inputs, Mapping):
        named = cast(Mapping[str, Any], inputs)
        return model(named) if _takes_whole(model, named) else model(**named)
    if isinstance(inputs, tuple):
        return model(*cast(tuple[Any, ...], inputs))
    return model(inputs)


def _takes_whole(model: nn.Module, inputs: Mapping[str, Any]) -> bool:
    """Whether ``forward`` can be called with the mapping, and not with its entries by keyword."""
    return not _binds(model, **inputs) and _binds(model, inputs)


def _binds(model: nn.Module, *arguments: Any, **named: Any) -> bool:
    try:
        inspect.signature(model.forward).bind(*arguments, **named)
    except (TypeError, ValueError):  # it does not fit, or a compiled forward has no signature
        return False
    return True


def compute_loss(
    model: nn.Module, batch: Any, loss: Loss | None, forward: Forward | None
) -> Tensor:
    """The scalar loss of one batch.

    Raises:
        BadInput: what came back is not a scalar tensor that requires grad.
    """
    if forward is not None:
        value: Any = forward(model, batch)
        source = "forward(model, batch)"
    else:
        inputs, targets = split_batch(batch)
        value = cast(Loss, loss)(call_model(model, inputs), targets)
        source = "loss(outputs, targets)"
    if not isinstance(value, Tensor):
        raise BadInput(
            f"{source} must return a scalar tensor, got {type(value).__name__}{_hint(value)}"
        )
    if value.numel() != 1:
        raise BadInput(
            f"{source} must return a scalar, got shape {tuple(value.shape)}: "
            "reduce it, for example with .mean()."
        )
    if not value.is_floating_point():
        raise BadInput(
            f"{source} must return a real floating-point scalar, got {value.dtype}: "
            "a count or a complex number has no gradient; take .abs() or another real loss."
        )
    return value


def _hint(value: Any) -> str:
    if getattr(value, "loss", None) is not None:
        return "; it has a field .loss: return that."
    return "; keep it a tensor (no .item(), no float())."


def tensors_in(value: Any) -> list[Tensor]:
    """Every tensor in nested tuples, lists, mappings and objects with tensor fields."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        items: Iterable[Any] = cast(Mapping[Any, Any], value).values()
    elif isinstance(value, tuple | list):
        items = cast(list[Any], value)
    else:
        return []
    return [tensor for item in items for tensor in tensors_in(item)]


def map_tensors(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same nesting with every tensor changed; anything unknown is passed through."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, tuple):
        parts = [map_tensors(item, change) for item in cast(tuple[Any, ...], value)]
        made = cast(Any, type(cast(object, value)))
        return made(*parts) if hasattr(value, "_fields") else tuple(parts)
    if isinstance(value, list):
        return [map_tensors(item, change) for item in cast(list[Any], value)]
    if isinstance(value, dict | UserDict):
        return map_entries(value, lambda _, item: map_tensors(item, change))
    return value


def map_entries(value: Any, change: Callable[[Any, Any], Any]) -> Any:
    """A mapping of the same kind, every entry made anew from its key and its value."""
    made = copy.copy(value)
    for key, item in list(value.items()):
        made[key] = change(key, item)
    return made


def check_arguments(model: Any, loss: Any, forward: Any, seed: Any, batches: Any = 1) -> None:
    """Refuse what cannot be observed before anything runs.

    Raises:
        BadInput: an argument has the wrong type.
    """
    if not isinstance(model, nn.Module):
        raise BadInput(f"model must be a torch.nn.Module, got {type(model).__name__}.")
    if forward is None and not callable(loss):
        raise BadInput(
            f"loss must be callable, loss(outputs, targets) -> scalar tensor, got "
            f"{type(loss).__name__}; where a step is not that, pass forward=."
        )
    if forward is None and isinstance(loss, type):
        _check_class(cast(type[Any], loss))
    if forward is not None and not callable(forward):
        raise BadInput(f"forward must be callable, got {type(forward).__name__}.")
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**63:
        raise BadInput(f"seed must be a whole number of 0 or more, got {seed!r}.")
    if not isinstance(batches, int) or isinstance(batches, bool) or batches < 1:
        raise BadInput(f"batches must be a whole number of 1 or more, got {batches!r}.")
    _check_materialised(model)
    _check_whole(model)


def _check_class(loss: type[Any]) -> None:
    """Refuse a class whose instances are what computes the loss: calling it makes one.

    Raises:
        BadInput: it is such a class.
    """
    if not any("__call__" in vars(base) for base in loss.__mro__):
        return
    ours = loss.__module__.startswith("torch.nn.")
    name = f"nn.{loss.__name__}" if ours else loss.__name__
    raise BadInput(f"loss is the class {loss.__name__}: pass {name}().")


def _check_whole(model: nn.Module) -> None:
    """Refuse a model of which each process holds a part: run here alone, it waits for the others.

    Raises:
        BadInput: it is sharded over processes.
    """
    sharding = any(divides(module) for module in model.modules())
    if sharding or any(is_part(parameter) for parameter in model.parameters()):
        how = "FSDP" if sharding else "DTensor"
        raise BadInput(
            f"the model is sharded over processes ({how}), and one process alone cannot run it: "
            "give the model as it is before fully_shard or parallelize_module, at a size that fits "
            "one process. A sharded training itself can be watched (unvanish.watch)."
        )


def _check_materialised(model: nn.Module) -> None:
    named = list(model.named_parameters())
    lazy = [name for name, p in named if isinstance(p, UninitializedParameter)]
    if lazy:
        raise BadInput(
            f"parameter {lazy[0]} of model is not initialised yet (a lazy module): "
            "run the model once on a batch first."
        )
    metas = [name for name, p in named if p.device.type == "meta"]
    if metas:
        raise BadInput(
            f"parameter {metas[0]} of model is on the meta device and has no values: "
            "materialise the model (for example model.to_empty and init) first."
        )


def check_batch(model: nn.Module, batch: Any, index: int) -> None:
    """Say in one sentence what torch would say from deep inside: wrong device, NaN in the input.

    Raises:
        BadInput: a tensor of the batch is on another device than the model, or holds NaN or Inf.
    """
    devices = {p.device for p in model.parameters()}
    for tensor in tensors_in(batch):
        if len(devices) == 1 and tensor.device not in devices and tensor.dim() > 0:
            (device,) = devices
            raise BadInput(
                f"data: batch {index} is on {tensor.device} but the model is on {device}: "
                f"move one of them, for example batch.to('{device}')."
            )
        if tensor.is_floating_point() and tensor.numel():
            _check_values(tensor.detach(), index)


def check_samples(batch: Any, index: int) -> None:
    """Say in one sentence that there is nothing to train on.

    Raises:
        BadInput: no tensor of the batch holds anything.
    """
    sizes = [tensor.numel() for tensor in tensors_in(batch) if tensor.dim()]
    if sizes and not any(sizes):
        raise BadInput(f"data: batch {index} has no samples; leave empty batches out.")


def _check_values(tensor: Tensor, index: int) -> None:
    # -inf alone is how attention masks are written; NaN and +inf are never meant.
    bad = int((torch.isnan(tensor) | (tensor == float("inf"))).sum())
    if bad:
        raise BadInput(
            f"data: batch {index} has {bad} NaN or infinite values in a tensor of shape "
            f"{tuple(tensor.shape)}: clean the input first (torch.nan_to_num, or drop the rows)."
        )
