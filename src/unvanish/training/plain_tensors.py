"""Tensors that train and that a model keeps without registering them: named, never changed."""

from collections.abc import Iterator
from typing import Any, cast

from torch import Tensor, nn

from unvanish.probe.inputs import OWN, held_names


def unregistered_names(model: nn.Module, stepped: set[int]) -> tuple[str, ...]:
    """Where the model holds those of the tensors with these ids that are no parameters of it."""
    if stepped <= {id(parameter) for parameter in model.parameters()}:
        return ()
    return tuple(name for key, name in held_names(model).items() if key in stepped)


def plain_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Leaves that require grad, kept as attributes of a module or in a list or dictionary of it.

    Those of a layer that is kept so are none: it may be another network, which trains elsewhere.

    >>> import torch
    >>> net = torch.nn.Linear(2, 2)
    >>> net.temperature = torch.ones(1, requires_grad=True)
    >>> list(plain_tensors(net))
    ['temperature']
    """
    return {
        name: tensor
        for path, module in model.named_modules()
        for attribute, value in vars(module).items()
        if attribute not in OWN
        for name, tensor in _tensors(value, f"{path}.{attribute}" if path else attribute)
        if tensor.is_leaf and tensor.requires_grad and not isinstance(tensor, nn.Parameter)
    }


def _tensors(value: Any, place: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield place, value
    elif isinstance(value, dict | list | tuple):  # another mapping may read a file
        whole = cast(Any, value)
        items = whole.items() if isinstance(value, dict) else enumerate(whole)
        for key, inner in items:
            if isinstance(inner, Tensor):
                yield f"{place}.{key}", inner
