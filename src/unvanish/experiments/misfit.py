"""Which way the loss goes as outputs come to fit the batch worse: autograd is asked."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge
from torch.overrides import TorchFunctionMode

from unvanish.batches import tensors_in
from unvanish.experiments.program import Program
from unvanish.probe.functions import function_name, tensor_arguments, writes_in_place
from unvanish.twins import twin_of

FITS = frozenset(
    "mse_loss l1_loss smooth_l1_loss huber_loss binary_cross_entropy cross_entropy nll_loss "
    "binary_cross_entropy_with_logits gaussian_nll_loss poisson_nll_loss".split()
)
_MINUS = frozenset("sub subtract rsub __sub__ __rsub__".split())
_SCALES = frozenset("mul div true_divide __truediv__ multiply divide".split())
_OTHER = frozenset(
    "cosine_similarity kl_div gather take_along_dim mul multiply matmul einsum bmm".split()
)
"""What may compare outputs with the batch in ways that have no distance of their own: an overlap, a
share of the labels' probability. Where one is met, the distances do not speak for the whole loss."""
_POWERS = frozenset("pow __pow__".split())
_ADDS = _MINUS | frozenset("add __add__ __radd__ stack cat concat where".split())
_TURNS = _MINUS | frozenset("neg negative __neg__".split())


def falls_with_misfit(program: Program) -> bool | None:
    """Whether the loss falls as outputs go away from the batch; ``None``: nothing to ask it of.

    The slope is taken with respect to the distances themselves, not to any weight: it has a sign
    of its own. All of them have to agree, those that have nothing to do with the batch (a critic's
    verdict, two views of one sample) included.
    """
    twin = twin_of(program.model)
    (batch,) = program.batches(1)
    with program.at_rest():
        listener = _Listener(tensors_in(batch))
        with listener:
            loss = program.loss_of(twin, batch)
        if (
            listener.weighed
            or listener.other
            or not any(listener.of_batch)
            or not loss.requires_grad
        ):
            return None
        slopes = torch.autograd.grad(loss, listener.edges, allow_unused=True)
    pairs = zip(cast(Sequence[Tensor | None], slopes), listener.of_batch, strict=True)
    known = [(slope, given) for slope, given in pairs if slope is not None and bool(slope.any())]
    if not any(given for _, given in known):
        return None
    return all(bool((slope <= 0).all()) for slope, _ in known)


class _Listener(TorchFunctionMode):
    """Finds the distances that a program takes, between outputs and the batch or anything else.

    ``edges`` are where their gradients arrive, ``of_batch`` says of each whether it is one to the
    batch. ``weighed`` is set once a distance is multiplied by a tensor with negative entries, which
    turns it round by right (an advantage), or by a negative number after it was turned round before
    (a likelihood times a reward), or is written over. ``other`` says that something else was compared.
    """

    def __init__(self, given: list[Tensor]) -> None:
        super().__init__()
        self.edges: list[Any] = []
        self.of_batch: list[bool] = []
        self.weighed = False
        self.other = False
        self._kept = list(given)  # what is known by its id has to stay alive
        self._given = {id(tensor) for tensor in given}
        self._differences: dict[int, bool] = {}
        self._distances: dict[int, bool] = {}  # whether its sign was changed on the way

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        options = dict[str, Any](kwargs or {})
        name, tensors = function_name(func), list(tensor_arguments(args, options))
        behind = [id(tensor) in self._distances for tensor in tensors]
        given = self._compares(tensors)  # before a function in place makes its argument another
        self.other |= name in _OTHER and not any(behind) and self._meet(tensors)
        result = func(*args, **options)
        made = tensors_in(result)
        self._kept += made
        ids = [id(tensor) for tensor in made]
        if any(behind):
            turned = any(self._distances.get(id(tensor), False) for tensor in tensors)
            turns = name in _TURNS or _by_negative_number(name, args)
            self._distances.update(dict.fromkeys(ids, turned or turns))
            self.weighed |= writes_in_place(name, options) or _weighs(name, tensors, behind)
            self.weighed |= turned and _by_negative_number(name, args)
        elif not any(tensor.requires_grad for tensor in made):
            own = any(isinstance(tensor, nn.Parameter) for tensor in tensors)
            if not own and any(id(tensor) in self._given for tensor in tensors):
                self._given.update(ids)
        elif name in FITS or self._is_distance(name, args, tensors):
            self.edges += [get_gradient_edge(tensor) for tensor in made]
            self.of_batch += [self._differences.get(id(tensors[0]), given)] * len(made)
            self._distances.update(dict.fromkeys(ids, False))
        elif tensors and name in _MINUS | _SCALES:
            known = self._differences.get(id(tensors[0]))
            if name in _MINUS or known is not None:
                self._differences.update(dict.fromkeys(ids, given if known is None else known))
        return result

    def _compares(self, tensors: list[Tensor]) -> bool:
        """Whether one is of the batch, and not the same everywhere (a critic's "real"), one trains."""
        if len(tensors) < 2 or tensors[0].requires_grad == tensors[1].requires_grad:
            return False
        given = tensors[1] if tensors[0].requires_grad else tensors[0]
        return id(given) in self._given and bool((given != given.flatten()[:1]).any())

    def _meet(self, tensors: list[Tensor]) -> bool:
        """Whether an output and what was given meet here."""
        outputs = any(t.requires_grad and not isinstance(t, nn.Parameter) for t in tensors)
        return outputs and any(id(t) in self._given for t in tensors)

    def _is_distance(self, name: str, args: tuple[Any, ...], tensors: list[Tensor]) -> bool:
        """Whether a difference is squared or its size is taken."""
        if not tensors or id(tensors[0]) not in self._differences:
            return False
        if name in _POWERS:
            return len(args) > 1 and isinstance(args[1], int | float) and args[1] % 2 == 0
        twice = name in _SCALES and len(tensors) > 1 and tensors[0] is tensors[1]
        return twice or name in ("square", "abs", "absolute", "__abs__")


def _weighs(name: str, tensors: list[Tensor], behind: list[bool]) -> bool:
    """Whether a distance is multiplied, or the like, by negative entries or by a number for each sample."""
    if name in _ADDS:
        return False
    others = list(tensors)
    del others[behind.index(True)]
    return any(bool((t < 0).any()) or _varies(t) for t in others if not t.is_complex())


def _varies(factor: Tensor) -> bool:
    """Whether each sample has a number of its own here: a cost, which turns a likelihood round by right.

    A mask has but one besides zero, and what trains (a variance) is part of the likelihood.
    """
    if factor.requires_grad:
        return False
    kept = factor[factor != 0]
    return kept.numel() > 1 and bool((kept != kept[0]).any())


def _by_negative_number(name: str, args: tuple[Any, ...]) -> bool:
    return name in _SCALES and any(isinstance(a, int | float) and a < 0 for a in args)
