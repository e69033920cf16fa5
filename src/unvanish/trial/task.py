"""Task: what both arms are given, the same batches in the same order, and what they are judged by."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from unvanish.batches import (
    Forward,
    Loss,
    call_model,
    check_arguments,
    check_batch,
    check_samples,
    compute_loss,
    map_tensors,
    split_batch,
)
from unvanish.errors import BadInput, UnvanishError
from unvanish.preserve import preserved
from unvanish.probe.compiled import eager, unwrapped
from unvanish.randomness import seeded
from unvanish.surgery.edits import Edit
from unvanish.surgery.operation import apply
from unvanish.training.reached import reached
from unvanish.trial.arm import copied_model
from unvanish.trial.split import Split, read, split_data
from unvanish.trial.yardstick import Metric, Score, Yardstick, class_axis
from unvanish.trial.zero_skill import zero_skill


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Data, loss and metric of a trial; ``zero_skill`` is the score of the best constant answer.

    ``name`` is the metric's, ``answers`` how many a held-out accuracy counts.
    """

    split: Split
    yardstick: Yardstick
    zero_skill: Score | None
    name: str
    answers: int

    def loss_of(self, model: nn.Module, batch: Any) -> Tensor:
        """The loss of one batch, computed on a copy of the batch.

        Raises:
            BadInput: it is no scalar tensor.
        """
        own = map_tensors(batch, Tensor.clone)
        return compute_loss(model, own, self.yardstick.loss, self.yardstick.forward)

    def outside(self) -> list[Any]:
        """What the user's functions can reach and a run must leave as it was."""
        rule = self.yardstick
        functions = [f for f in (rule.loss, rule.forward, rule.metric) if f is not None]
        return [thing for function in functions for thing in reached(function)]

    def remake(self, model: nn.Module, edits: Sequence[Edit], seed: int) -> nn.Module:
        """Edits made on a model, on the first training batch."""
        return apply(
            model,
            tuple(edits),
            batch=self.split.training[0],
            loss=self.yardstick.loss,
            forward=self.yardstick.forward,
            seed=seed,
        )


def prepare(
    model: nn.Module,
    data: Any,
    loss: Loss | None,
    forward: Forward | None = None,
    metric: Metric | None = None,
    *,
    steps: int = 200,
    size: int | None = None,
    validation: bool = False,
) -> Task:
    """Divide the data and settle what is measured.

    Where targets are numbers of classes that the outputs have an axis for, that is the accuracy;
    else the loss. A ``metric(outputs, targets)`` of the user's goes before both, higher is better.

    Args:
        model: run once on a held-out batch, as a copy, for the shape of its outputs.
        data: one batch as a tuple, or an iterable of batches.
        loss: ``loss(outputs, targets) -> scalar tensor``.
        forward: ``forward(model, batch) -> scalar tensor`` instead.
        metric: ``metric(outputs, targets) -> float``.
        steps: of the training, which bounds how many batches are read.
        size: samples in a minibatch drawn from one batch.
        validation: whether step sizes are to be chosen.

    Raises:
        BadInput: an argument or the data cannot be used, or the metric gives no number.
    """
    check_arguments(model, loss, forward, 0)
    if metric is not None and not callable(metric):
        raise BadInput(
            f"metric must be callable, metric(outputs, targets) -> float, got {type(metric).__name__}."
        )
    plain = unwrapped(model)[0]
    with seeded(0):  # a shuffling loader draws from the global generators
        batches = read(data, steps)
    for index, batch in enumerate(batches):
        check_samples(batch, index)
    split = split_data(batches, steps, size, validation)
    if split.divided and not _runs(plain, split.batch(0, 0), loss, forward):
        whole = split_data(batches, steps, size, validation, divide=False)
        if _runs(plain, whole.batch(0, 0), loss, forward):
            split = whole  # a model that knows its batch size
    for index, batch in enumerate((*split.training, *split.validation, *split.held_out)):
        check_batch(plain, batch, index)
    rule = Yardstick(
        kind="loss" if metric is None else "metric", loss=loss, forward=forward, metric=metric
    )
    outputs = outputs_of(plain, split.held_out[0]) if rule.reads_outputs else None
    answers = 0
    if outputs is not None and metric is not None:
        _check_metric(rule, plain, outputs, split)
    elif outputs is not None:
        targets = split_batch(split.held_out[0])[1]
        if class_axis(outputs, targets) is not None:
            rule = Yardstick(kind="accuracy", loss=loss, forward=None)
            answers = sum(split_batch(batch)[1].numel() for batch in split.held_out)
    reference = zero_skill(rule, split, outputs) if outputs is not None else None
    return Task(
        split=split, yardstick=rule, zero_skill=reference, name=_named(rule), answers=answers
    )


def _check_metric(rule: Yardstick, model: nn.Module, first: Any, split: Split) -> None:
    """What is no metric is said before anything is trained."""
    outputs = [first, *(outputs_of(model, batch) for batch in split.held_out[1:])]
    if not any(output is None for output in outputs):
        rule.rate(outputs, [split_batch(batch)[1] for batch in split.held_out])


def outputs_of(model: nn.Module, batch: Any) -> Any:
    """What the model says to a batch; ``None`` where it has no plain outputs."""
    inputs, _ = split_batch(batch)
    twin = copied_model(model).eval()
    with preserved(twin, 0), eager(), torch.no_grad():
        try:
            return call_model(twin, map_tensors(inputs, Tensor.clone))
        except UnvanishError:
            raise
        except Exception:
            return None  # the first training step says in what it fails, and where


def _runs(model: nn.Module, batch: Any, loss: Loss | None, forward: Forward | None) -> bool:
    """Whether a copy of the model gets through one batch."""
    twin = copied_model(model)
    own = map_tensors(batch, Tensor.clone)
    with preserved(twin, 0), eager():
        try:
            compute_loss(twin, own, loss, forward)
        except UnvanishError:
            return True  # what it says is for the user
        except Exception:
            return False
    return True


def _named(rule: Yardstick) -> str:
    if rule.kind != "metric":
        return rule.kind
    return str(getattr(rule.metric, "__name__", type(rule.metric).__name__))
