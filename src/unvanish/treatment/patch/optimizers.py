"""Edits to the optimizer, in the call that makes it or in lines below."""

import ast
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from unvanish.surgery.edits import Edit, Scalar
from unvanish.treatment.patch.births import Births
from unvanish.treatment.patch.calls import set_argument
from unvanish.treatment.patch.modules import Load, enclosing
from unvanish.treatment.patch.places import owner_of, parameters_in, place
from unvanish.treatment.patch.program import Program, Uncut
from unvanish.treatment.patch.source import Source
from unvanish.treatment.patch.spelling import written_tuple


@dataclass(slots=True)
class Making:
    """The call that makes the program's optimizer."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    births: Births
    program: Program
    load: Load

    def change(self, edit: Edit) -> None:
        """Write the edit into the call where it is for all groups, else into lines below.

        Raises:
            Uncut: the program's source has no name for the optimizer.
        """
        options = dict(edit.options)
        where = parameters_in(self.model, edit.where)
        missing = [name for name in where if id(self._parameter(name)) not in self._held()]
        if missing and not self._take_all(missing):
            self._add(missing)
        present = [name for name in where if name not in missing]
        groups = self._groups(present) if present else list(range(len(self._param_groups)))
        factor = options.pop("lr_factor", None)
        if not (present or not edit.where):
            return
        if factor is not None:
            self._multiply(groups, cast(float, factor))
        for name, value in _with_betas(options, self.optimizer).items():
            self._set(groups, name, value)

    @property
    def _param_groups(self) -> list[dict[str, Any]]:
        return self.optimizer.param_groups

    def _parameter(self, name: str) -> Tensor:
        return self.model.get_parameter(name)

    def _held(self) -> set[int]:
        return {id(p) for group in self._param_groups for p in cast(list[Tensor], group["params"])}

    def _groups(self, names: list[str]) -> list[int]:
        wanted = {id(self._parameter(name)) for name in names}
        return [
            index
            for index, group in enumerate(self._param_groups)
            if wanted & {id(p) for p in cast(list[Tensor], group["params"])}
        ]

    def _call(self) -> tuple[Source, ast.Call] | None:
        site = self.births.site(self.optimizer)
        made = [born for born in self.births.all if self.births.sites.get(id(born)) == site]
        if site is None or len(made) != 1:
            return None
        source, _ = self.load(Path(site.path))
        call = source.call_at(site)
        return (source, call) if call is not None else None

    def _set(self, groups: list[int], name: str, value: Any) -> None:
        every = groups == list(range(len(self._param_groups)))
        inherited = all(
            group.get(name) == self.optimizer.defaults.get(name) for group in self._param_groups
        )
        found, taken = self._call(), list(inspect.signature(type(self.optimizer)).parameters)
        if every and inherited and found is not None and name in taken:
            source, call = found
            if set_argument(source, call, name, taken.index(name), _number(value)):
                return
        self._write_groups(groups, f'["{name}"] = {_number(value)}')

    def _multiply(self, groups: list[int], factor: float) -> None:
        rates = {self._param_groups[index]["lr"] for index in groups}
        if len(rates) == 1 and not isinstance(rate := rates.pop(), Tensor):
            self._set(groups, "lr", rate * factor)
        else:
            self._write_groups(groups, f'["lr"] *= {_number(factor)}')

    def _write_groups(self, groups: list[int], change: str) -> None:
        optimizer = self.program.read("optimizer")
        lines = [f"{optimizer}.param_groups[{index}]{change}" for index in groups]
        if groups == list(range(len(self._param_groups))):
            lines = [f"for group in {optimizer}.param_groups:", f"{self.program.unit}group{change}"]
        self.program.add(lines, ("optimizer",))

    def _take_all(self, missing: list[str]) -> bool:
        """Hand all of the model's parameters to the call, where it comes behind the model."""
        found, changed = self._call(), self.program.changed_at()
        trained = {id(p) for p in self.model.parameters() if p.requires_grad}
        added = {id(self._parameter(name)) for name in missing}
        if found is None or changed is None or len(self._param_groups) != 1:
            return False
        source, call = found
        if (
            trained - self._held() - added
            or self._held() - trained
            or source is not self.program.source
        ):
            return False
        if enclosing(source, call) is not self.program.function:
            return False
        if call.lineno <= (self.program.body[changed].end_lineno or 0):
            return False
        return set_argument(source, call, "params", 0, f"{self.program.read('model')}.parameters()")

    def _add(self, missing: list[str]) -> None:
        """A group of the missing ones, with the options that the optimizer gives by default.

        Raises:
            Uncut: the program has no name for the optimizer.
        """
        if not isinstance(self.program.made_of("optimizer"), torch.optim.Optimizer):
            raise Uncut("the program returns no optimizer")
        model, optimizer = self.program.read("model"), self.program.read("optimizer")
        owner = owner_of(self.model, missing)
        if owner is not None:
            what = f"{place(model, self.model, owner)}.parameters()"
        elif len(missing) <= 3:
            what = f"[{', '.join(place(model, self.model, name) for name in missing)}]"
        else:
            what = f"[{model}.get_parameter(name) for name in {written_tuple(missing)}]"
        line = f'{optimizer}.add_param_group({{"params": {what}}})'
        self.program.add([line], ("model", "optimizer"))


def _with_betas(
    options: Mapping[str, Scalar], optimizer: torch.optim.Optimizer
) -> dict[str, Scalar | tuple[Scalar, Scalar]]:
    """Options as torch names them: one pair of betas, the one that is not told as it is."""
    known = optimizer.param_groups[0].get("betas")
    told = {name: value for name, value in options.items() if name not in ("beta1", "beta2")}
    if len(told) == len(options) or not isinstance(known, tuple):
        return {**options}
    first, second = cast(tuple[float, float], known)
    return {**told, "betas": (options.get("beta1", first), options.get("beta2", second))}


def _number(value: Any) -> str:
    """As short as it says the same to twelve digits: 0.1 * 0.1 is 0.01."""
    return repr(float(f"{value:.12g}")) if type(value) is float else repr(value)
