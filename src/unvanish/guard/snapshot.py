"""The state of a training copied, and put back in place: weights, buffers, optimizer, loss scale."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from unvanish.guard.gradients import loss_scaler, stepped
from unvanish.guard.policy import Moment


@dataclass(slots=True, kw_only=True)
class Snapshot:
    """What a training was at a step, on the host, in plain containers, numbers and tensors.

    ``tensors`` holds parameters and, where the model is known, buffers by name; ``optimizer`` the
    state of each parameter by its place among those of all groups. Learning rates and the other
    settings of the groups are the user's and are not part of it.
    """

    step: int
    tensors: dict[str, Tensor]
    optimizer: dict[int, dict[str, Any]]
    scaler: dict[str, Any] | None

    def plain(self) -> dict[str, Any]:
        """The snapshot as containers that ``torch.load(weights_only=True)`` reads back."""
        return {
            "step": self.step,
            "tensors": self.tensors,
            "optimizer": self.optimizer,
            "scaler": self.scaler,
        }


def size_of(moment: Moment) -> int:
    """Bytes that a snapshot of this moment takes."""
    tensors = list(_tensors(moment).values())
    for state in _states(moment).values():
        tensors += [value for value in state.values() if isinstance(value, Tensor)]
    return sum(t.numel() * t.element_size() for t in tensors if t.layout == torch.strided)


def take(moment: Moment) -> Snapshot:
    """Copy the state to the host. On an accelerator this waits for the device."""
    scaler = loss_scaler(moment)
    return Snapshot(
        step=moment.step,
        tensors={name: _copied(tensor) for name, tensor in _tensors(moment).items()},
        optimizer={
            place: {key: _copied(value) for key, value in state.items() if _plain(value)}
            for place, state in _states(moment).items()
        },
        scaler=None if scaler is None else dict(scaler.state_dict()),
    )


@torch.no_grad()
def put_back(snapshot: Snapshot, moment: Moment) -> tuple[str, ...]:
    """Write the state into the same tensors that the training uses; the names that no longer fit.

    The loss scale is left for after the step: the step at hand still divides by the present one.
    """
    unfit: list[str] = []
    current = _tensors(moment)
    for name, saved in snapshot.tensors.items():
        tensor = current.get(name)
        if tensor is None or tensor.shape != saved.shape:
            unfit.append(name)
        else:
            tensor.copy_(saved)
    for place, parameter in enumerate(_parameters(moment)):
        saved = snapshot.optimizer.get(place, {})
        state: dict[str, Any] = moment.optimizer.state.get(parameter, {})
        for key in [key for key, value in state.items() if key not in saved and _plain(value)]:
            del state[key]
        for key, value in saved.items():
            state[key] = _restored(value, state.get(key), parameter)
        if state:
            moment.optimizer.state[parameter] = state
        else:
            moment.optimizer.state.pop(parameter, None)
    return tuple(unfit)


def _tensors(moment: Moment) -> dict[str, Tensor]:
    found = {f"parameter {name}": p.detach() for name, p in stepped(moment).items()}
    if moment.model is not None:
        found |= {f"buffer {name}": b.detach() for name, b in moment.model.named_buffers()}
    return found


def _parameters(moment: Moment) -> list[Tensor]:
    groups: list[dict[str, Any]] = moment.optimizer.param_groups
    return [p for group in groups for p in cast(list[Tensor], group["params"])]


def _states(moment: Moment) -> dict[int, Mapping[str, Any]]:
    # get, not []: asking a defaultdict for what it lacks would write into the user's optimizer.
    found = {i: moment.optimizer.state.get(p) for i, p in enumerate(_parameters(moment))}
    return {i: state for i, state in found.items() if state}


def _plain(value: Any) -> bool:
    """Whether this is a tensor, a number, or a container of such: what can be copied and kept."""
    if isinstance(value, dict):
        return all(_plain(inner) for inner in cast(dict[Any, Any], value).values())
    if isinstance(value, list | tuple):
        return all(_plain(inner) for inner in cast(list[Any], value))
    return value is None or isinstance(value, Tensor | bool | int | float | str)


def _copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        host = value.detach().to("cpu")
        return host.clone() if host.data_ptr() == value.data_ptr() else host
    if isinstance(value, dict):
        return {key: _copied(inner) for key, inner in cast(dict[Any, Any], value).items()}
    if isinstance(value, list | tuple):
        return [_copied(inner) for inner in cast(list[Any], value)]
    return value


def _restored(saved: Any, present: Any, parameter: Tensor) -> Any:
    """The saved value, written into the present tensor where there is one of its shape.

    In place, so that whatever else holds that tensor (a captured graph) sees it too.
    """
    if not isinstance(saved, Tensor):
        return _copied(saved)
    if isinstance(present, Tensor) and present.shape == saved.shape:
        return present.copy_(saved)
    # A step counter lives on the host unless the optimizer is fused or capturable.
    return saved.clone() if saved.dim() == 0 else saved.to(parameter.device, copy=True)
