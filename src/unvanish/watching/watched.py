"""The tensors of a watch: which they are, what they are called, and whether that still holds."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from unvanish.recording import TensorEntry

SAMPLED = 16
"""Parameters asked whether a backward pass reached them: enough to tell two models apart."""


class Watched:
    """Every parameter of a model, and what its optimizers hold besides.

    Names are those of the user's own module. A tensor of an optimizer that no module owns is
    called after its place: ``param_groups.0.2``.
    """

    def __init__(self, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        self._model, self._optimizers = model, optimizers
        self.parameters: dict[str, Tensor] = {}
        self.entries: list[TensorEntry] = []
        self._column: dict[int, int] = {}
        self._held: list[int] = []
        self.sample: list[Tensor] = []
        self.update()

    def __len__(self) -> int:
        return len(self.entries)

    def update(self) -> list[TensorEntry]:
        """Look again; the entries of tensors that were not there before. Columns never move."""
        added: list[TensorEntry] = []
        self._held = self._ids_held()
        named = [(n, p) for n, p in self._model.named_parameters() if _readable(p)]
        for number, optimizer in enumerate(self._optimizers):
            prefix = f"optimizers.{number}." if len(self._optimizers) > 1 else ""
            for place, group in enumerate(optimizer.param_groups):
                tensors = cast(list[Tensor], group["params"])
                named += [(f"{prefix}param_groups.{place}.{i}", p) for i, p in enumerate(tensors)]
        for name, parameter in named:
            if id(parameter) in self._column:
                continue
            plain = _plain_name(name)
            known = self.parameters.get(plain)
            if known is not None:  # a parameter that was replaced keeps its column
                column = self._column.pop(id(known))
                self._column[id(parameter)] = column
                self.parameters[plain] = parameter
                continue
            self._column[id(parameter)] = len(self.entries)
            self.parameters[plain] = parameter
            entry = TensorEntry(
                name=plain,
                shape=tuple(parameter.shape),
                dtype=str(parameter.dtype).removeprefix("torch."),
            )
            self.entries.append(entry)
            added.append(entry)
        every = list(self.parameters.values())
        self.sample = every[:: max(len(every) // SAMPLED, 1)]
        return added

    def changed(self) -> bool:
        """Whether an optimizer holds other tensors than before."""
        return self._held != self._ids_held()

    def renewed(self) -> bool:
        """Whether the model trains a tensor that is not known: layers were added or exchanged.

        Asks every parameter, so it is asked rarely.
        """
        own = (p for p in self._model.parameters() if p.requires_grad and id(p) not in self._column)
        return any(_readable(parameter) for parameter in own)

    def columns_of(self, optimizer: torch.optim.Optimizer) -> list[int]:
        """The columns of what one optimizer holds, in their order."""
        held = (p for group in optimizer.param_groups for p in cast(list[Tensor], group["params"]))
        return sorted({self._column[id(p)] for p in held if id(p) in self._column})

    def free_columns(self) -> list[int]:
        """The columns of trainable tensors that no optimizer holds."""
        held = set(self._held)
        return [
            column
            for column, parameter in enumerate(self.parameters.values())
            if parameter.requires_grad and id(parameter) not in held
        ]

    @property
    def names(self) -> dict[int, str]:
        """The names of the tensors by ``id``."""
        return {id(parameter): name for name, parameter in self.parameters.items()}

    def holds(self, tensor: Tensor) -> bool:
        """Whether this very tensor is watched."""
        return id(tensor) in self._column

    def _ids_held(self) -> list[int]:
        return [
            id(p)
            for optimizer in self._optimizers
            for group in optimizer.param_groups
            for p in cast(list[Tensor], group["params"])
        ]


def _plain_name(name: str) -> str:
    parts = name.split(".")
    return ".".join(part for part in parts if part not in ("_orig_mod", "_fsdp_wrapped_module"))


def _readable(parameter: Tensor) -> bool:
    lazy = isinstance(parameter, torch.nn.parameter.UninitializedParameter)
    return not lazy and (parameter.is_floating_point() or parameter.is_complex())
