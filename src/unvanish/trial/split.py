"""Which samples are trained on, which are held out, and in what order a seed sees them."""

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor

from unvanish.batches import map_tensors, take_batches, tensors_in

FEWEST = 16
"""Samples below which a batch is not divided: four answers say nothing about the rest."""
_MINIBATCH, _CHUNK = 64, 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Batches to train on, to choose step sizes by, and to be judged by.

    ``size`` is the number of samples in a minibatch drawn from the one training batch (``None``:
    batches are taken as they are). ``validation`` is only ever used to choose a step size, and is the
    training part itself where nothing could be set aside;
    ``unseen`` says whether ``held_out`` is apart from the training part at all, ``divided`` whether
    batches were taken apart for it.
    """

    training: tuple[Any, ...]
    validation: tuple[Any, ...]
    held_out: tuple[Any, ...]
    size: int | None
    unseen: bool
    divided: bool = False

    def batch(self, seed: int, step: int) -> Any:
        """The batch of one step: the same for every arm, another order for every seed.

        Every epoch is shuffled anew; samples left over after the last full minibatch of an epoch
        are skipped.
        """
        if self.size is None:
            count = len(self.training)
            return self.training[int(_order(count, seed, step // count)[step % count])]
        (pool,) = self.training
        count = samples_in(pool)
        epoch, place = divmod(step, count // self.size)
        order = _order(count, seed, epoch)[place * self.size : (place + 1) * self.size]
        return pick(pool, order)

    def turned(self, turn: int) -> "Split | None":
        """Another part of the same size set aside instead; the held-out one stays apart.

        Turn 0 is this split. ``None``: there are no other samples left to set aside, or none were.
        """
        if turn == 0:
            return self
        if not self.validation or self.validation is self.training:
            return None
        if len(self.validation) < len(self.training):
            every = (*self.training, *self.validation)
            found = _turned(len(every), len(self.validation), turn)
            parts = None if found is None else [tuple(every[k] for k in rows) for rows in found]
        else:
            parts = _turned_inside(list(zip(self.training, self.validation, strict=True)), turn)
        return None if parts is None else replace(self, training=parts[0], validation=parts[1])

    @property
    def samples(self) -> int:
        """Held-out samples; a batch whose samples cannot be told apart counts as one."""
        return sum(samples_in(batch) for batch in self.held_out)


def read(data: Any, steps: int) -> Any:
    """The batches that a training of so many steps and its judgement need; a single one as it is."""
    if isinstance(data, tuple | Tensor | Mapping):
        return cast(Any, data)
    return take_batches(data, max(4, math.ceil(steps * 4 / 3)))


def split_data(
    data: Any,
    steps: int,
    size: int | None = None,
    validation: bool = False,
    *,
    divide: bool = True,
) -> Split:
    """Hold out a quarter: the last batches of four or more, else samples drawn by lot.

    Args:
        data: one batch as a tuple, or an iterable of batches, of which at most 4/3 · ``steps``
            are read.
        steps: of the training.
        size: samples in a minibatch drawn from one batch; at most 64 and at most half of the
            training part where nothing is said, so that seeds differ in their order.
        validation: whether a quarter of the training part is set aside to choose step sizes by.
        divide: whether batches may be taken apart at all.
    """
    found = read(data, steps)
    single = not isinstance(found, list)
    batches: list[Any] = [found] if single else cast(list[Any], found)
    training, held_out = _hold_out(batches, FEWEST if divide else None)
    unseen = bool(held_out)
    chosen: list[Any] = []
    if validation and unseen:
        training, chosen = _hold_out(training, FEWEST // 2 if divide else None)
    if single and divide and samples_in(training[0]) >= 2 and _rows(training[0]) is not None:
        count = samples_in(training[0])
        size = min(size or min(_MINIBATCH, math.ceil(count / 2)), count)
    else:
        size = None
    trained = tuple(training)
    judged = [chunk for batch in held_out for chunk in _chunks(batch)] or batches
    return Split(
        training=trained,
        validation=() if not validation else tuple(chosen) or trained,
        held_out=tuple(judged),
        size=size,
        unseen=unseen,
        divided=size is not None or (unseen and len(batches) < 4),
    )


def _hold_out(batches: Sequence[Any], fewest: int | None) -> tuple[list[Any], list[Any]]:
    """Training and held-out batches; none held out where they can be told apart by nothing."""
    if len(batches) >= 4:
        cut = len(batches) - len(batches) // 4
        return list(batches[:cut]), list(batches[cut:])
    divided = [None if fewest is None else _divided(batch, fewest) for batch in batches]
    pairs = [pair for pair in divided if pair is not None]
    if len(pairs) < len(divided):
        return list(batches), []
    return [kept for kept, _ in pairs], [apart for _, apart in pairs]


def _divided(batch: Any, fewest: int) -> tuple[Any, Any] | None:
    """Three quarters and one quarter of the samples, by lot: an order in them must not part."""
    count = _rows(batch)
    if count is None or count < fewest:
        return None
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    cut = count - max(1, round(count / 4))
    return pick(batch, order[:cut]), pick(batch, order[cut:])


def _turned(count: int, apart: int, turn: int) -> tuple[list[int], list[int]] | None:
    """Which of so many train and which are set aside, from the end towards the beginning."""
    last = count - turn * apart
    first = last - apart
    if first < 0:
        return None
    return [*range(first), *range(last, count)], list(range(first, last))


def _turned_inside(pairs: Sequence[tuple[Any, Any]], turn: int) -> list[tuple[Any, ...]] | None:
    """The same within each batch, where batches were divided."""
    found: list[tuple[Any, Any]] = []
    for kept, apart in pairs:
        others = iter(tensors_in(apart))
        whole = map_tensors(kept, lambda t, o=others: torch.cat([t, next(o)]))
        rows = _turned(samples_in(whole), samples_in(apart), turn)
        if rows is None:
            return None
        found.append((pick(whole, torch.tensor(rows[0])), pick(whole, torch.tensor(rows[1]))))
    return [tuple(kept for kept, _ in found), tuple(apart for _, apart in found)]


def _rows(batch: Any) -> int | None:
    """The number of samples where every tensor of the batch has one row for each."""
    sizes = {t.shape[0] if t.dim() else 0 for t in tensors_in(batch)}
    if len(sizes) != 1 or min(sizes) < 1:
        return None
    # A container that cannot be rebuilt comes back as it is, whole.
    one = tensors_in(pick(batch, torch.arange(1)))
    return min(sizes) if all(t.shape[0] == 1 for t in one) else None


def _chunks(batch: Any) -> Iterator[Any]:
    """A large held-out batch in pieces, for the memory's sake."""
    count = _rows(batch)
    if count is None or count <= _CHUNK:
        yield batch
        return
    for part in torch.arange(count).chunk(math.ceil(count / _CHUNK)):
        yield pick(batch, part)


def samples_in(batch: Any) -> int:
    """The length of the last tensor (the targets') of a batch; 1 where it has none."""
    tensors = [t for t in tensors_in(batch) if t.dim()]
    return tensors[-1].shape[0] if tensors else 1


def pick(batch: Any, rows: Tensor) -> Any:
    """These samples of a batch."""
    return map_tensors(batch, lambda tensor: tensor[rows.to(tensor.device)])


@functools.lru_cache(maxsize=8)
def _order(count: int, seed: int, epoch: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return torch.randperm(count, generator=generator)
