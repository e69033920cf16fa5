"""Insert a part before or behind a module; wrap a module, or a stretch of a Sequential, in a skip."""

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import nn

from unvanish.errors import BadInput, CannotCut
from unvanish.nn.extended import extend_, skip_sequential_
from unvanish.nn.skip import Skip
from unvanish.probe.shapes import Shapes
from unvanish.surgery.edits import Edit, Scalar
from unvanish.surgery.places import fitted, module_at, parent_of, reads_past, stop_shortcuts

Look = Callable[[nn.Module, tuple[str, ...]], Mapping[str, Shapes] | None]
"""Shapes seen at modules in one forward pass; ``None`` where no batch was given."""
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def insert(model: nn.Module, edit: Edit) -> nn.Module:
    """The model with the part behind (or before) each module at ``where``.

    A child of a Sequential that holds no parameter gives way to a Sequential of both; everything
    else keeps its object and names (:func:`unvanish.nn.extend_`).

    Raises:
        CannotCut: there is no such module, or it is never called.
    """
    if edit.part is None:
        raise BadInput("an insertion needs a part.")
    before = bool(edit.options.get("before", False))
    for path in edit.where:
        module = _callable_at(model, path)
        part = fitted(model, path, edit.part.build(), module.training)
        stop_shortcuts(model, path)
        parent, name = parent_of(path)
        holder = model.get_submodule(parent)
        if path and type(holder) is nn.Sequential and not _kept(module):
            pair = nn.Sequential(part, module) if before else nn.Sequential(module, part)
            holder._modules[name] = pair.train(module.training)
        else:
            extend_(module, part, "before" if before else "behind", _called(part))
    return model


def wrap(model: nn.Module, edit: Edit, look: Look) -> nn.Module:
    """The model with a gated skip around a module, or around children first to last of a Sequential.

    Options: ``kind``, ``channels``, ``channel_axis``, ``depth`` and ``gate_start`` as for
    :class:`unvanish.nn.GatedResidual`. Where the shapes differ, a projection is made from those
    seen on the batch, or from the options that :func:`with_shapes` writes.

    Raises:
        CannotCut: the stretch is none, or its shapes cannot be brought together.
    """
    if len(edit.where) not in (1, 2):
        raise BadInput("a wrap needs one module, or the first and the last child of a Sequential.")
    first, last = edit.where[0], edit.where[-1]
    modules = [_callable_at(model, path) for path in (first, last)]
    edit = with_shapes(model, edit, look)
    skip = cast(Skip, fitted(model, first, _skip(edit), modules[0].training))
    stop_shortcuts(model, first)
    if len(edit.where) == 1:
        extend_(modules[0], skip, "around", "skip")
        return model
    (parent, start), (other, end) = parent_of(first), parent_of(last)
    holder = module_at(model, parent)
    if parent != other or not isinstance(holder, nn.Sequential):
        raise CannotCut(
            f"{first} to {last} is no stretch of one torch.nn.Sequential: wrap its modules one by "
            "one, or change the forward that calls them."
        )
    # What Sequential itself does is known; a forward of the user's own is not.
    own = next(c for c in type(holder).__mro__ if "forward" in vars(c))
    if not own.__module__.startswith(("torch.", "unvanish.")):
        raise CannotCut(f"{parent or 'the model'} is a Sequential with a forward of its own.")
    try:
        skip_sequential_(holder).add_skip(start, end, skip)
    except BadInput as error:
        raise CannotCut(f"{first} to {last}: {error}") from error
    return model


def with_shapes(model: nn.Module, edit: Edit, look: Look) -> Edit:
    """A wrap that knows its projection: options ``projection``, ``inside``, ``outside``, ``stride``.

    Raises:
        CannotCut: no linear layer or 1x1 convolution brings one shape to the other.
    """
    if edit.action != "wrap" or "projection" in edit.options:
        return edit
    seen = look(model, edit.where)
    if seen is None:
        return edit
    missing = [path for path in edit.where if path not in seen]
    if missing:
        raise CannotCut(f"{missing[0] or 'the model'} is not called with tensors on this batch.")
    inside, outside = seen[edit.where[0]].inputs, seen[edit.where[-1]].outputs
    return Edit(
        action=edit.action,
        where=edit.where,
        part=edit.part,
        options={**edit.options, **_projection(edit.where, inside, outside)},
    )


def _projection(
    where: tuple[str, ...], inside: tuple[int, ...], outside: tuple[int, ...]
) -> dict[str, Scalar]:
    if inside == outside:
        return {"projection": "none"}
    cannot = CannotCut(
        f"{' to '.join(where)} turns {inside} into {outside}: no linear layer or 1x1 convolution "
        "does, so nothing can be led around."
    )
    if len(inside) != len(outside) or len(inside) < 2 or inside[0] != outside[0]:
        raise cannot
    if inside[:-1] == outside[:-1]:
        return {"projection": "linear", "inside": inside[-1], "outside": outside[-1]}
    strides = {-(-a // b) for a, b in zip(inside[2:], outside[2:], strict=True)}
    stride = max(strides)
    places = [-(-size // stride) for size in inside[2:]]
    if len(inside) not in (3, 4, 5) or places != list(outside[2:]):
        raise cannot
    name = f"conv{len(inside) - 2}d"
    return {"projection": name, "inside": inside[1], "outside": outside[1], "stride": stride}


def _skip(edit: Edit) -> Skip:
    options = dict(edit.options)
    kind = options.pop("projection", "none")
    inside, outside = options.pop("inside", None), options.pop("outside", None)
    stride = options.pop("stride", 1)
    projection: nn.Module | None = None
    if kind == "linear":
        projection = nn.Linear(cast(int, inside), cast(int, outside), bias=False)
    elif kind in ("conv1d", "conv2d", "conv3d"):
        convolution = _CONVOLUTIONS[int(str(kind)[4]) - 1]
        projection = convolution(
            cast(int, inside), cast(int, outside), 1, cast(int, stride), bias=False
        )
    if projection is not None:
        _keep_scale(cast(Any, projection).weight)
    try:
        return Skip(**cast(dict[str, Any], options), projection=projection)
    except TypeError as error:
        raise BadInput(f"a wrap has no such option: {error}") from error


@torch.no_grad()
def _keep_scale(weight: torch.Tensor) -> None:
    # Orthogonal rows keep the root mean square of what they narrow; what is widened needs the
    # root of the ratio more, as |Px| = |x| is spread over more numbers.
    nn.init.orthogonal_(weight)
    weight.mul_(max(1.0, weight.shape[0] / weight.shape[1]) ** 0.5)


def _callable_at(model: nn.Module, path: str) -> nn.Module:
    module = module_at(model, path)
    if isinstance(module, nn.ModuleList | nn.ModuleDict | nn.ParameterList | nn.ParameterDict):
        raise CannotCut(
            f"{path} is a {type(module).__name__}, which is never called: name what is in it."
        )
    if "forward" in vars(module):
        raise CannotCut(f"the forward of {path or 'the model'} was exchanged on the object itself.")
    past = reads_past(model, path)
    if past is not None:
        raise CannotCut(f"nothing can be put behind {path}: {past}.")
    return module


def _kept(module: nn.Module) -> bool:
    """Whether a state_dict knows the module, or its hooks would be led to another output."""
    return bool(module.state_dict()) or isinstance(module, nn.Sequential)


def _called(part: nn.Module) -> str:
    name = type(part).__name__
    return "norm" if "Norm" in name else name.lower()
