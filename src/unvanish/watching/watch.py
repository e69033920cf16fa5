"""watch: the one call that puts a running training under watch."""

import logging
import os
import weakref
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from unvanish import __version__
from unvanish.errors import BadInput
from unvanish.guard import from_argument
from unvanish.guard.policy import Policy
from unvanish.probe.compiled import unwrapped
from unvanish.recording.writer import Writer
from unvanish.watching.alarm_book import Alarm
from unvanish.watching.attachment import innermost
from unvanish.watching.monitor import Monitor
from unvanish.watching.parallel import held, place
from unvanish.watching.sinks import Sink
from unvanish.watching.unwatched import Unwatched
from unvanish.watching.watched import Watched

LOG = logging.getLogger("unvanish")


def watch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer | Sequence[torch.optim.Optimizer],
    to: str | Path | None = None,
    guard: str | Policy | Iterable[str | Policy] | None = None,
    *,
    budget: float | None = 0.02,
    on_alarm: Callable[[Alarm], object] | None = None,
    sinks: Sequence[Sink] = (),
    ranks: Collection[int] | None = None,
    strict: bool = False,
) -> Monitor:
    """Watch a training from now on: every gradient at every step of the optimizer.

    The training itself stays as it is, to the bit, unless a ``guard`` acts. Use it as a context
    around the loop, or keep the monitor and ``close()`` it.

    Args:
        model: the network that is trained (compiled or wrapped for data parallelism, too).
        optimizer: what steps it; a sequence where several do (one step of all is then one step).
        to: folder for the recording (made where it is missing; an earlier recording in it stays).
            ``None``: nothing is written, alarms and diagnosis are kept in memory.
        guard: policies of :mod:`unvanish.guard` that may act, by name or as objects; none acts
            unless it is asked for here.
        budget: share of the training's time that watching may take, on average. Moments are read at
            every step whatever they cost; histogram, weights and updates, and deep looks, as often
            as it allows. ``None``: everything at every step, and one deep look.
        on_alarm: called with each alarm as it is raised, in the training's thread.
        sinks: boards that follow live (:mod:`unvanish.recording.sinks`).
        ranks: of several processes that train together, those that write a recording, 0 among them.
            The others are watched all the same, and their alarms are in the log. ``None``: all of
            them; of a sharded tensor the numbers are known where every part is recorded.
        strict: raise where watching fails. Otherwise one warning is logged, and training goes on.

    Returns:
        The monitor.

    Raises:
        BadInput: an argument is of the wrong type; with ``strict``, also whatever keeps this
            training from being watched (no parameters, a model on the meta device, a folder that
            cannot be written).

    >>> import torch, unvanish
    >>> net = torch.nn.Linear(4, 1)
    >>> sgd = torch.optim.SGD(net.parameters(), lr=0.1)
    >>> with unvanish.watch(net, sgd) as monitor:
    ...     for _ in range(3):
    ...         sgd.zero_grad()
    ...         net(torch.ones(8, 4)).square().mean().backward()
    ...         sgd.step()
    >>> monitor.steps, monitor.alarms
    (3, ())
    """
    if not isinstance(model, nn.Module):
        raise BadInput(f"model must be an nn.Module, got {type(model).__name__}.")
    optimizers = _optimizers(optimizer)
    policies = from_argument(guard)
    share = isinstance(budget, int | float) and 0 < budget <= 1
    if budget is not None and not share:
        raise BadInput(f"budget must be a share between 0 and 1, or None, got {budget!r}.")
    if to is not None and not isinstance(to, str | os.PathLike):
        raise BadInput(f"to must be a folder (a string or a path), or None, got {to!r}.")
    if ranks is not None and 0 not in ranks:
        raise BadInput(f"ranks must contain 0, whose recording is read first, got {ranks!r}.")
    own, _ = unwrapped(model)
    records = to if ranks is None or place().rank in ranks else None
    try:
        _check(own, optimizers)
        _close_left_open(optimizers)
        writer = (
            None if records is None else _writer(own, optimizers, Path(records), budget, policies)
        )
        monitor = Monitor(
            own,
            optimizers,
            writer,
            share=budget,
            policies=policies,
            sinks=sinks,
            on_alarm=on_alarm,
            strict=strict,
        )
        _OPEN.update(dict.fromkeys(optimizers, monitor))
        return monitor
    except Exception as error:
        if strict:
            raise
        LOG.warning("this training is not watched: %s", error)
        return cast(Monitor, Unwatched(own, str(error)))


_OPEN: weakref.WeakKeyDictionary[torch.optim.Optimizer, Monitor] = weakref.WeakKeyDictionary()


def _close_left_open(optimizers: Sequence[torch.optim.Optimizer]) -> None:
    """Close a monitor of the same optimizer that nobody closed: a notebook's cell, run again.

    One that is used as a context is somebody's own business, and two may stand side by side.
    """
    for optimizer in optimizers:
        earlier = _OPEN.get(optimizer)
        if earlier is not None and not earlier.entered:
            earlier.close()


def _optimizers(given: Any) -> tuple[torch.optim.Optimizer, ...]:
    listed: list[Any] = list(given) if isinstance(given, list | tuple) else [given]
    found = [innermost(one) for one in listed]
    wrong = [one for one in found if not isinstance(one, torch.optim.Optimizer)]
    if wrong or not found:
        kind = type(wrong[0]).__name__ if wrong else "an empty sequence"
        raise BadInput(
            f"optimizer must be a torch.optim.Optimizer (or a sequence of them), got {kind}."
        )
    return tuple({id(one): one for one in found}.values())


def _check(model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> None:
    """Refuse what cannot be watched.

    Raises:
        BadInput: nothing to watch, or no values to read.
    """
    held = [p for one in optimizers for group in one.param_groups for p in group["params"]]
    if not held:
        raise BadInput("the optimizer holds no parameters: pass it model.parameters().")
    meta = next((n for n, p in model.named_parameters() if p.device.type == "meta"), None)
    if meta is not None:
        raise BadInput(
            f"{meta} is on the meta device and has no values: load or initialise the model "
            "(model.to_empty(device=...)) before it is watched."
        )
    own = {id(parameter) for parameter in model.parameters()}
    if not any(id(parameter) in own for parameter in held):
        raise BadInput(
            "the optimizer holds no parameter of this model: make it over model.parameters()."
        )


def _writer(
    model: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    folder: Path,
    budget: float | None,
    policies: Sequence[Policy],
) -> Writer:
    watched, here = Watched(model, optimizers), place()
    conditions: dict[str, Any] = {
        "unvanish": __version__,
        "torch": torch.__version__,
        "model": type(model).__name__,
        "optimizers": [type(one).__name__ for one in optimizers],
        "budget": budget,
        "guard": [policy.name for policy in policies],
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "device": str(next(model.parameters()).device),
        "rank": here.rank,
        "world": here.world,
        "group": here.group,
        "parts": held(watched.parameters, model),
    }
    return Writer(here.folder(folder), watched.entries, conditions)
