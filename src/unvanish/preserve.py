"""Give everything back as it was: random state, modes, buffers, gradients, hooks, parameters.

One context manager, :func:`preserved`, around every look at a user's model.
"""

import contextlib
import random
from collections.abc import Generator, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn


@contextlib.contextmanager
def preserved(model: nn.Module, seed: int) -> Generator[None]:
    """Seed all generators with ``seed`` inside; restore model and random state outside.

    Restored whatever happens: training modes, buffers (values, and which exist), ``.grad`` and
    ``requires_grad`` of every parameter, post-accumulate hooks (silenced inside, so that an
    optimizer living in the backward pass does not step), grad mode, and the random state of
    Python, numpy and torch on CPU and initialised accelerators.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(_random_state(model, seed))
        stack.enter_context(_modes(model))
        stack.enter_context(_buffers(model))
        stack.enter_context(_gradients(model))
        stack.enter_context(torch.enable_grad())
        yield


@contextlib.contextmanager
def _random_state(model: nn.Module, seed: int) -> Iterator[None]:
    tensors = [*model.parameters(), *model.buffers()]
    cuda = sorted({t.device.index or 0 for t in tensors if t.device.type == "cuda"})
    python_state, numpy_state = random.getstate(), _numpy_state()
    with torch.random.fork_rng(devices=cuda):
        mps = torch.mps.get_rng_state() if any(t.device.type == "mps" for t in tensors) else None
        try:
            torch.manual_seed(seed)
            random.seed(seed)
            _seed_numpy(seed)
            yield
        finally:
            random.setstate(python_state)
            _restore_numpy(numpy_state)
            if mps is not None:
                torch.mps.set_rng_state(mps)


def _numpy_state() -> Any:
    import numpy

    return numpy.random.get_state()


def _seed_numpy(seed: int) -> None:
    import numpy

    numpy.random.seed(seed % 2**32)


def _restore_numpy(state: Any) -> None:
    import numpy

    numpy.random.set_state(state)


@contextlib.contextmanager
def _modes(model: nn.Module) -> Iterator[None]:
    # One by one: model.train(mode) would also flip a part that the user froze in eval mode.
    before = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in before:
            module.training = training


@contextlib.contextmanager
def _buffers(model: nn.Module) -> Iterator[None]:
    before = [
        (module, name, buffer, None if buffer is None else buffer.detach().clone())
        for module in model.modules()
        for name, buffer in module._buffers.items()  # named_buffers hides shared and None ones
    ]
    registered = [(module, set(module._buffers)) for module in model.modules()]
    try:
        yield
    finally:
        for module, names in registered:
            for name in set(module._buffers) - names:
                del module._buffers[name]
        for module, name, buffer, copy in before:
            module._buffers[name] = buffer
            if buffer is not None and copy is not None:
                _restore_values(buffer, copy)


def _restore_values(tensor: Tensor, copy: Tensor) -> None:
    # Only what changed is written back: an untouched buffer keeps its version counter.
    if tensor.shape != copy.shape:
        tensor.data = copy
    elif not torch.equal(tensor.detach().nan_to_num(), copy.nan_to_num()):
        with torch.no_grad():
            tensor.copy_(copy)


@contextlib.contextmanager
def _gradients(model: nn.Module) -> Iterator[None]:
    parameters = list(dict.fromkeys(model.parameters()))
    before = [(p, p.grad, p.requires_grad) for p in parameters]
    hooks = [(p, dict(p._post_accumulate_grad_hooks)) for p in parameters if _post_hooks(p)]
    try:
        for parameter, _ in hooks:
            _post_hooks(parameter).clear()
        for parameter in parameters:
            parameter.grad = None
        yield
    finally:
        for parameter, grad, requires_grad in before:
            parameter.requires_grad_(requires_grad)
            parameter.grad = grad
        for parameter, saved in hooks:
            _post_hooks(parameter).update(saved)


def _post_hooks(parameter: Tensor) -> dict[int, Any]:
    # A private name of torch (2.1 to 2.13): there is no public way to silence these hooks.
    return getattr(parameter, "_post_accumulate_grad_hooks", None) or {}


class ParameterKeeper:
    """Copies a parameter just before the observed code writes into it; puts it back at the end.

    Copying every parameter up front would double the memory of the model for the rare forward
    that clips or moves its own weights; the recorder calls :meth:`before_write` for every
    in-place operation it sees instead.
    """

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        self._by_storage = {p.untyped_storage()._cdata: p for p in parameters if p.layout == torch.strided}
        self._saved: dict[int, tuple[Tensor, Tensor]] = {}

    def before_write(self, tensor: Tensor) -> None:
        """Remember the values of the parameter that shares this tensor's memory, if one does."""
        if tensor.layout != torch.strided:
            return
        key = tensor.untyped_storage()._cdata
        parameter = self._by_storage.get(key)
        if parameter is not None and key not in self._saved:
            self._saved[key] = (parameter, parameter.detach().clone())

    @property
    def written(self) -> list[Tensor]:
        """The parameters that were written to."""
        return [parameter for parameter, _ in self._saved.values()]

    def restore(self) -> None:
        """Write the remembered values back."""
        for parameter, copy in self._saved.values():
            with torch.no_grad():
                parameter.data.copy_(copy)
        self._saved.clear()
