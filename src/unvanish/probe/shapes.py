"""The shapes that go into and out of modules in one forward pass."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import nn

from unvanish.batches import Forward, Loss, compute_loss, tensors_in
from unvanish.preserve import preserved


@dataclass(frozen=True, slots=True, kw_only=True)
class Shapes:
    """What a module was called with and gave (its first tensors), in its first call; and how often."""

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    calls: int


def seen_shapes(
    model: nn.Module,
    paths: Iterable[str],
    batch: Any,
    loss: Loss | None = None,
    forward: Forward | None = None,
    seed: int = 0,
) -> dict[str, Shapes]:
    """Shapes at these modules, by path; a module that was not called, or of no tensors, is left out.

    The model comes back as it was: buffers, modes, random state, hooks.
    """
    found: dict[str, Shapes] = {}
    handles: list[Any] = []

    def note(path: str, arguments: Any, named: Any, output: Any) -> None:
        inside, outside = tensors_in((arguments, named)), tensors_in(output)
        if inside and outside:
            known = found.get(path)
            found[path] = Shapes(
                inputs=known.inputs if known else tuple(inside[0].shape),
                outputs=known.outputs if known else tuple(outside[0].shape),
                calls=known.calls + 1 if known else 1,
            )

    try:
        for path in dict.fromkeys(paths):

            def hook(module: nn.Module, a: Any, n: Any, output: Any, path: str = path) -> None:
                note(path, a, n, output)

            module = model.get_submodule(path)
            handles.append(module.register_forward_hook(hook, with_kwargs=True))
        with preserved(model, seed):
            compute_loss(model, batch, loss, forward)
    finally:
        for handle in handles:
            handle.remove()
    return found
