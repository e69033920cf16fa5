"""Give everything back as it was: random state, modes, buffers, gradients, hooks, parameters.

One context manager, :func:`preserved`, around every look at a user's model.
"""

import contextlib
from collections.abc import Generator, Iterable
from types import TracebackType
from typing import Any, cast

import torch
from torch import Tensor, nn

from unvanish.attributes import Attributes
from unvanish.randomness import seeded


@contextlib.contextmanager
def preserved(model: nn.Module, seed: int) -> Generator["Guard"]:
    """Seed all generators with ``seed`` inside; restore model and random state outside.

    Restored whatever happens: training modes, buffers (values, and which exist), plain attributes
    (:mod:`unvanish.attributes`), ``.grad`` and ``requires_grad`` of every parameter,
    post-accumulate hooks (silenced inside, so that an optimizer living in the backward pass does
    not step), grad mode, and the random state of Python, numpy and torch on CPU and initialised
    accelerators. The guard it yields takes in more modules and leaf tensors as they turn up (a
    loss with weights and buffers of its own).
    """
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        seeded(seed),
        Guard() as guard,
    ):
        guard.keep_module(model)
        yield guard


@contextlib.contextmanager
def hooks_kept(leaves: Iterable[Tensor]) -> Generator[None]:
    """Post-accumulate hooks that are put on inside come off, those that were taken off are back."""
    before = [(leaf, dict(_post_hooks(leaf))) for leaf in leaves]
    try:
        yield
    finally:
        _put_back(before)


class Guard:
    """Remembers the state of modules and leaf tensors when it meets them; restores it on exit."""

    def __init__(self) -> None:
        self._modules: dict[int, nn.Module] = {}
        self._modes: list[tuple[nn.Module, bool]] = []
        self._buffers: list[tuple[nn.Module, dict[str, Tensor | None]]] = []
        self._attributes: list[Attributes] = []
        self._values: list[tuple[Tensor, Tensor, bool]] = []
        self._leaves: dict[int, tuple[Tensor, Tensor | None, bool]] = {}
        self._hooks: list[tuple[Tensor, dict[int, Any]]] = []  # of every leaf, those it came with

    def __enter__(self) -> "Guard":
        return self

    def keep_module(self, module: nn.Module) -> None:
        """Remember modes, buffers and parameters of a module and all inside it."""
        for part in module.modules():
            if id(part) in self._modules:
                continue
            self._modules[id(part)] = part
            # One by one: train(mode) would also flip a part that the user froze in eval mode.
            self._modes.append((part, part.training))
            self._buffers.append((part, dict(part._buffers)))  # named_buffers hides None and shared
            self._attributes.append(Attributes(part))
            for buffer in (*part._buffers.values(), *_plain_tensors(part)):
                if buffer is not None and not in_transform(buffer):
                    plain = buffer.grad_fn is None
                    self._values.append((buffer, buffer.detach().clone(), plain))
            for parameter in part._parameters.values():
                if parameter is not None and not in_transform(parameter):
                    self.keep_leaf(parameter)

    def keep_leaf(self, leaf: Tensor) -> None:
        """Remember ``.grad``, ``requires_grad`` and post-accumulate hooks; clear them until exit."""
        if id(leaf) in self._leaves:
            return
        self._leaves[id(leaf)] = (leaf, leaf.grad, leaf.requires_grad)
        leaf.grad = None
        self._hooks.append((leaf, dict(_post_hooks(leaf))))
        _post_hooks(leaf).clear()

    def silence(self) -> None:
        """Take off the post-accumulate hooks that were put on inside: they may step or clear."""
        for leaf, _ in self._hooks:
            _post_hooks(leaf).clear()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for module, training in self._modes:
            module.training = training
        for module, buffers in self._buffers:
            for name in set(module._buffers) - set(buffers):
                del module._buffers[name]
            module._buffers.update(buffers)
        for attributes in self._attributes:
            attributes.restore()
        for buffer, values, plain in self._values:
            if plain and buffer.grad_fn is not None:
                buffer.detach_()  # written to outside no_grad: it would carry our graph along
            _restore_values(buffer, values)
        for leaf, grad, requires_grad in self._leaves.values():
            if leaf.requires_grad != requires_grad:
                leaf.requires_grad_(requires_grad)
            leaf.grad = grad
        _put_back(self._hooks)
        # Whatever still points here must not keep a batch or its gradients alive.
        for kept in (self._modules, self._leaves, self._modes, self._buffers, self._values):
            kept.clear()
        self._attributes.clear()
        self._hooks.clear()


def _plain_tensors(module: nn.Module) -> list[Tensor]:
    """Tensors that it keeps without having registered them: a mean of its own, what it saw last."""
    kept = [value for value in vars(module).values() if isinstance(value, Tensor)]
    return [tensor for tensor in kept if not tensor.is_leaf or not tensor.requires_grad]


def _restore_values(tensor: Tensor, values: Tensor) -> None:
    if tensor.shape != values.shape:
        tensor.data = values
    elif not _same_bits(tensor.detach(), values):
        # Only what changed is written back: an untouched buffer keeps its version counter.
        with torch.no_grad():
            tensor.copy_(values)


_FUNCTORCH: Any = cast(Any, torch._C)._functorch  # no stub names it


def in_transform(tensor: Tensor) -> bool:
    """Whether a tensor lives only inside of ``torch.vmap`` or another transform, as one of its slices."""
    return bool(_FUNCTORCH.is_functorch_wrapped_tensor(tensor))


_WHOLE = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def _same_bits(left: Tensor, right: Tensor) -> bool:
    # As whole numbers: as floats NaN would differ from itself and -0.0 equal 0.0.
    if left.layout != torch.strided or left.device.type == "meta":
        return left.device.type == "meta"
    if left.is_complex():
        left, right = (
            torch.view_as_real(left.resolve_conj()),
            torch.view_as_real(right.resolve_conj()),
        )
    if left.is_floating_point():
        left, right = left.view(_WHOLE[left.itemsize]), right.view(_WHOLE[right.itemsize])
    return torch.equal(left, right)


def _put_back(kept: Iterable[tuple[Tensor, dict[int, Any]]]) -> None:
    """The hooks that leaves came with, and no others: who is stopped cannot take off his own."""
    for leaf, hooks in kept:
        _post_hooks(leaf).clear()
        _post_hooks(leaf).update(hooks)


def _post_hooks(leaf: Tensor) -> dict[int, Any]:
    # A private name of torch (2.1 to 2.13): there is no public way to silence these hooks.
    hooks: dict[int, Any] | None = getattr(leaf, "_post_accumulate_grad_hooks", None)
    return {} if hooks is None else hooks  # an empty one is the very one to refill


class ParameterKeeper:
    """Copies a parameter just before the observed code writes into it; puts it back at the end.

    Copying every parameter up front would double the memory of the model for the rare forward
    that clips or moves its own weights; the recorder calls :meth:`before_write` for every
    in-place operation it sees instead. A parameter whose ``.data`` was exchanged gets its old
    memory back.
    """

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        self._aliases = [(p, p.detach()) for p in parameters]
        self._by_storage: dict[int, list[Tensor]] = {}
        for parameter, alias in self._aliases:
            if parameter.layout == torch.strided:
                key = alias.untyped_storage()._cdata
                self._by_storage.setdefault(key, []).append(parameter)
        self._saved: dict[int, list[tuple[Tensor, Tensor, Tensor]]] = {}

    def before_write(self, tensor: Tensor) -> None:
        """Remember the values of the parameters that share this tensor's memory, if some do."""
        while in_transform(tensor):  # its memory is that of what it wraps
            tensor = _FUNCTORCH.get_unwrapped(tensor)
        if tensor.layout != torch.strided:
            return
        key = tensor.untyped_storage()._cdata
        if key in self._by_storage and key not in self._saved:
            own = {id(parameter): alias for parameter, alias in self._aliases}
            self._saved[key] = [(p, own[id(p)], own[id(p)].clone()) for p in self._by_storage[key]]

    @property
    def written(self) -> list[Tensor]:
        """The parameters whose values are not what they were."""
        written = [p for p, alias in self._aliases if _exchanged(p, alias)]
        for entries in self._saved.values():
            written += [p for p, alias, copy in entries if not _same_bits(alias, copy)]
        return list({id(p): p for p in written}.values())

    def restore(self) -> None:
        """Put the remembered memory and values back."""
        for parameter, alias in self._aliases:
            if _exchanged(parameter, alias):
                parameter.data = alias
        for entries in self._saved.values():
            for _, alias, copy in entries:
                with torch.no_grad():
                    alias.data.copy_(copy)
        self._saved.clear()
        self._aliases.clear()
        self._by_storage.clear()


def _exchanged(parameter: Tensor, alias: Tensor) -> bool:
    if parameter.layout != torch.strided or alias.layout != torch.strided:
        return parameter.layout != alias.layout
    return (
        parameter.data_ptr() != alias.data_ptr()
        or parameter.shape != alias.shape
        or parameter.stride() != alias.stride()
        or parameter.dtype != alias.dtype
    )
