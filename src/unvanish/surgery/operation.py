"""Edits applied to a copy of a model, in order: the model that was given stays as it is."""

from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from unvanish.batches import Forward, Loss, compute_loss
from unvanish.errors import BadInput, CannotCut, UnvanishError
from unvanish.preserve import preserved
from unvanish.probe.compiled import unwrapped
from unvanish.probe.shapes import Shapes, seen_shapes
from unvanish.randomness import seeded
from unvanish.surgery import values
from unvanish.surgery.edits import ARCHITECTURE, Edit
from unvanish.surgery.extending import Look, insert, with_shapes, wrap
from unvanish.surgery.registering import register
from unvanish.surgery.replacing import replace
from unvanish.surgery.rewriting import rewrite
from unvanish.surgery.values import Situation
from unvanish.twins import carry_hooks, twin_of


def apply(
    model: nn.Module,
    edits: Iterable[Edit],
    *,
    batch: Any = None,
    loss: Loss | None = None,
    forward: Forward | None = None,
    seed: int = 0,
) -> nn.Module:
    """The treated copy of a model: edits applied in order, every kept name as it was.

    Tied parameters stay tied, hooks, modes, dtypes and devices stay; edits of the optimizer, the
    training step and advice change no model and are passed over. With a batch the treated model
    is run once where its functions were changed, so that what does not fit is said here. An
    edit that draws random numbers draws them from ``seed``.

    Args:
        model: any module; behind ``torch.compile`` and data-parallel wrappers, the module itself.
        edits: applied one after the other; names are those of the model at that moment.
        batch: one batch, for initialisations that look at data and for skips over changing shapes.
        loss: ``loss(outputs, targets)``, with the batch.
        forward: ``forward(model, batch)``, in place of the loss.
        seed: of all draws; the random state outside stays as it is.

    Raises:
        CannotCut: the model cannot be copied, or an edit cannot be made to it: where and why.
        BadInput: an edit lacks an option, or has one that means nothing.

    >>> from unvanish.surgery import Edit, Part
    >>> net = nn.Sequential(nn.Linear(4, 8), nn.Sigmoid(), nn.Linear(8, 2))
    >>> swap = Edit(action="replace", where=("1",), part=Part(type="torch.nn.GELU"))
    >>> apply(net, [swap])[1], net[1]
    (GELU(approximate='none'), Sigmoid())
    """
    edits = tuple(edits)
    situation = Situation(batch=batch, loss=loss, forward=forward, seed=seed)
    treated = copied(model)
    with seeded(seed):
        for edit in edits:
            treated = _said(treated, edit, situation)
    runs = batch is not None and (loss is not None or forward is not None)
    if runs and any(edit.action in ARCHITECTURE | {"register"} for edit in edits):
        _try_once(model, treated, situation)
    return treated


def resolved(
    model: nn.Module,
    edits: Iterable[Edit],
    *,
    batch: Any,
    loss: Loss | None = None,
    forward: Forward | None = None,
    seed: int = 0,
) -> tuple[Edit, ...]:
    """The same edits with the shapes that were seen on the batch, so that they replay without one.

    Raises:
        CannotCut: as :func:`apply`.
    """
    situation = Situation(batch=batch, loss=loss, forward=forward, seed=seed)
    treated = copied(model)
    known: list[Edit] = []
    with seeded(seed):
        for edit in edits:
            known.append(with_shapes(treated, edit, _look(situation)))
            treated = _said(treated, known[-1], situation)
    return tuple(known)


def rebuild(
    model: nn.Module, edits: Iterable[Edit], state: Mapping[str, Any] | None = None
) -> nn.Module:
    """The treated model again, from the untreated one, the edits and a ``state_dict``.

    For another process: initialisations are passed over, as the state holds what they and the
    training made. ``edits`` must be :func:`resolved` where they wrap what changes its shape.

    Raises:
        CannotCut: as :func:`apply`.
        BadInput: the state is not that of this model with these edits.
    """
    treated = apply(model, [edit for edit in edits if edit.action != "initialise"])
    if state is not None:
        try:
            treated.load_state_dict(state)
        except RuntimeError as error:
            raise BadInput(f"the state does not belong to these edits: {error}") from error
    return treated


def copied(model: nn.Module) -> nn.Module:
    """A deep copy: tied parameters stay tied in it, and what marks a parameter goes along.

    Raises:
        CannotCut: something in the model cannot be copied.
    """
    model, _ = unwrapped(model)
    try:
        twin = twin_of(model)
    except Exception as error:
        raise CannotCut(
            f"the model cannot be copied ({error}): keep locks and open files out of its attributes."
        ) from error
    for mine, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        for name, mark in vars(mine).items():  # torch leaves a parameter's own attributes behind
            vars(theirs).setdefault(name, mark)
    carry_hooks(model, twin)
    return twin


def _said(model: nn.Module, edit: Edit, situation: Situation) -> nn.Module:
    """One edit; what Python or torch refuse is said with the place."""
    try:
        return _applied(model, edit, situation)
    except (TypeError, ValueError, AttributeError, RuntimeError) as error:
        places = ", ".join(edit.where[:3]) or "the model"
        raise CannotCut(f"{edit.action} at {places}: {_first_line(error)}") from error


def _applied(model: nn.Module, edit: Edit, situation: Situation) -> nn.Module:
    match edit.action:
        case "replace":
            return replace(model, edit)
        case "insert":
            return insert(model, edit)
        case "wrap":
            return wrap(model, edit, _look(situation))
        case "rewrite":
            rewrite(model, edit)
        case "initialise":
            values.initialise(model, edit, situation)
        case "scale":
            values.scale(model, edit)
        case "fill":
            values.fill(model, edit)
        case "register":
            register(model, edit)
        case "set":
            values.set_attributes(model, edit)
        case "optimizer" | "step" | "advice":
            pass
    return model


def _look(situation: Situation) -> Look:
    def look(model: nn.Module, paths: tuple[str, ...]) -> Mapping[str, Shapes] | None:
        if situation.batch is None or (situation.loss is None and situation.forward is None):
            return None
        run = situation.batch, situation.loss, situation.forward, situation.seed
        try:
            return seen_shapes(model, paths, *run)
        except UnvanishError:
            raise
        except Exception as error:
            raise CannotCut(f"the model fails on this batch: {_first_line(error)}") from error

    return look


def _try_once(model: nn.Module, treated: nn.Module, situation: Situation) -> None:
    """Run the treated model forward and backward; say what does not fit or is passed by."""
    named = {n: p for n, p in treated.named_parameters() if p.requires_grad}
    try:
        with preserved(treated, situation.seed):
            value = compute_loss(treated, situation.batch, situation.loss, situation.forward)
            if not value.requires_grad:
                return
            value.backward()  # not autograd.grad: reentrant checkpoints refuse that
            arrived = {name: parameter.grad is not None for name, parameter in named.items()}
    except Exception as error:
        raise CannotCut(
            f"the treated model fails on this batch: {_first_line(error)}; the part does not fit "
            "the shapes that it meets there."
        ) from error
    _check_reached(unwrapped(model)[0], arrived)


def _check_reached(model: nn.Module, arrived: Mapping[str, bool]) -> None:
    """A part is passed by if the module that it was put at reaches the loss and it does not."""
    known = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    modules = {name for name, _ in model.named_modules(remove_duplicate=False)}
    for name in [n for n, there in arrived.items() if not there and n not in known]:
        host = name
        while host and host not in modules:
            host = host.rpartition(".")[0]
        prefix = f"{host}." if host else ""
        if any(there for n, there in arrived.items() if n in known and n.startswith(prefix)):
            raise CannotCut(
                f"what was put at {host or 'the model'} does not reach the loss and the module "
                "does: the forward around it reads its weights or another of its outputs."
            )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
