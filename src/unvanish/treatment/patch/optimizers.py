"""Edits to the optimizer, in the call that makes it or in lines below."""

import ast
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from unvanish.probe.compiled import unwrapped
from unvanish.surgery.edits import Edit, Scalar
from unvanish.surgery.optimizers import kin_groups
from unvanish.treatment.patch.births import Births, model_of
from unvanish.treatment.patch.block import Uncut
from unvanish.treatment.patch.calls import argument_of, set_argument
from unvanish.treatment.patch.factories import Written, called_directly, from_factory
from unvanish.treatment.patch.home import Home
from unvanish.treatment.patch.modules import Load
from unvanish.treatment.patch.places import owner_of, parameters_in, place
from unvanish.treatment.patch.program import Program
from unvanish.treatment.patch.spelling import (
    is_long,
    multiplied,
    short_factor,
    written_factor,
    written_tuple,
    written_value,
)


@dataclass(slots=True)
class Making:
    """The call that makes the program's optimizer.

    ``optimizer`` is of the run that was watched, or what the program's factory gave (``factory``).
    What is written is done to it too, so that each edit is written for what those before it made.
    ``whole`` is what the model is called at the call, if it has all of its parameters there.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    program: Program
    written: Written | None
    factory: bool = False
    whole: str | None = None

    def change(self, edit: Edit) -> None:
        """Write the edit into the call where it is for all groups, else into lines below.

        Raises:
            Uncut: the program has no such parameters or no name for the optimizer, or part of a group
                is meant.
        """
        options = dict(edit.options)
        where = parameters_in(self.model, edit.where)
        if edit.where and not where:
            raise Uncut("the program's own model has no such parameters")
        joining = kin_groups(self.optimizer, self.model, where)
        if joining and options:
            raise Uncut("it adds parameters and gives them options of their own")
        if joining and not self._take_all(joining):
            self._add(joining)
        if not options:
            return
        groups = self._groups(where) if where else list(range(len(self._param_groups)))
        factor = options.pop("lr_factor", None)
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
        """The groups that hold these parameters and no others.

        Raises:
            Uncut: a group holds others, too.
        """
        wanted = {id(self._parameter(name)) for name in names}
        found: list[int] = []
        for index, group in enumerate(self._param_groups):
            held = {id(p) for p in cast(list[Tensor], group["params"])}
            if held & wanted and held - wanted:
                raise Uncut("it is for part of a group of the optimizer")
            found += [index] if held & wanted else []
        return found

    def _set(self, groups: list[int], name: str, value: Any, factor: float | None = None) -> None:
        """Give groups an option; ``factor``: what the value is times the one that they have."""
        if not self._into_call(groups, name, value, factor):
            self._write_groups(groups, name, f"= {written_value(value)}")
        for index in groups:
            self._param_groups[index][name] = value

    def _into_call(self, groups: list[int], name: str, value: Any, factor: float | None) -> bool:
        taken = list(inspect.signature(type(self.optimizer)).parameters)
        every = groups == list(range(len(self._param_groups)))
        defaults = self.optimizer.defaults
        inherited = all(group.get(name) == defaults.get(name) for group in self._param_groups)
        if not (every and inherited) or self.written is None or name not in taken:
            return False
        source, call = self.written.source, self.written.call
        position = taken.index(name) if self.written.positional else None
        text, given = written_value(value), argument_of(call, name, position)
        if given is not None and (_names_something(given) or is_long(text)):
            factor = factor or short_factor(self._param_groups[groups[0]].get(name), value)
            text = multiplied(source.segment(given), factor) if factor else text
        if not set_argument(source, call, name, position, text):
            return False
        defaults[name] = value
        return True

    def _multiply(self, groups: list[int], factor: float) -> None:
        rates = {self._param_groups[index]["lr"] for index in groups}
        if len(rates) == 1 and not isinstance(rate := rates.pop(), Tensor):
            self._set(groups, "lr", rate * factor, factor)
            return
        operator, number = written_factor(factor)
        self._write_groups(groups, "lr", f"{operator}= {number}")
        for index in groups:
            self._param_groups[index]["lr"] = self._param_groups[index]["lr"] * factor

    def _write_groups(self, groups: list[int], name: str, change: str) -> None:
        if self.factory:
            raise Uncut(
                f"the program returns a factory; write {name} {change} where it makes the optimizer"
            )
        block = self.program.block(("optimizer",))
        optimizer, option = block.read("optimizer"), f'["{name}"] {change}'
        lines = [f"{optimizer}.param_groups[{index}]{option}" for index in groups]
        if groups == list(range(len(self._param_groups))):
            each = block.free("group")
            lines = [f"for {each} in {optimizer}.param_groups:", f"{block.unit}{each}{option}"]
        block.add(lines, ("optimizer",))

    def _take_all(self, joining: Mapping[str, int]) -> bool:
        """Hand all of the model's parameters to the call, where the model is whole there."""
        trained = {id(p) for p in self.model.parameters() if p.requires_grad}
        added = {id(self._parameter(name)) for name in joining}
        if self.written is None or self.whole is None or not self._is_plain():
            return False
        if trained - self._held() - added or self._held() - trained:
            return False
        source, call = self.written.source, self.written.call
        every = f"{self.whole}.parameters()"
        return set_argument(source, call, "params", 0, every) and self._join(joining)

    def _is_plain(self) -> bool:
        """Whether there is one group, as the optimizer makes it where only parameters are given."""
        group, *others = self._param_groups
        own = {name: value for name, value in group.items() if name != "params"}
        listed = any(value is group["params"] for value in vars(self.optimizer).values())
        defaults = self.optimizer.defaults
        same = own.keys() == defaults.keys() and all(own[n] == v for n, v in defaults.items())
        return not others and same and not listed  # LBFGS steps along its own list alone

    def _add(self, joining: Mapping[str, int]) -> None:
        """The missing ones in the groups of their kin, or in one like the only group there is.

        Raises:
            Uncut: the program has no name for the optimizer.
        """
        if self.factory:
            raise Uncut("the program returns a factory; give it these parameters, too")
        block = self.program.block(("model", "optimizer"))
        model, optimizer = block.read("model"), block.read("optimizer")
        if self._is_plain():
            what = self._written_parameters(model, list(joining))
            lines = [f'{optimizer}.add_param_group({{"params": {what}}})']
            added = [self._parameter(name) for name in joining]
            self.optimizer.add_param_group({"params": added})
        else:
            lines = list[str]()
            for index in sorted(set(joining.values())):
                names = [name for name, home in joining.items() if home == index]
                own = f'{optimizer}.param_groups[{index}]["params"]'
                lines.append(f"{own}.extend({self._written_parameters(model, names)})")
            self._join(joining)
        block.add(lines, ("model", "optimizer"))

    def _join(self, joining: Mapping[str, int]) -> bool:
        for name, index in joining.items():
            self._param_groups[index]["params"].append(self._parameter(name))
        return True

    def _written_parameters(self, model: str, names: list[str]) -> str:
        """The source of these parameters, as a list or an iterator."""
        owner = owner_of(self.model, names)
        if owner is not None:
            return f"{place(model, self.model, owner)}.parameters()"
        if len(names) <= 3:
            return f"[{', '.join(place(model, self.model, name) for name in names)}]"
        return f"[{model}.get_parameter(name) for name in {written_tuple(names)}]"


def made_by(program: Program, model: nn.Module, births: Births, load: Load, seed: int) -> Making:
    """The making of what the program returns as its optimizer: one, or a factory of one.

    Raises:
        Uncut: it returns neither, or its factory fails.
    """
    made = program.made_of("optimizer")
    if isinstance(made, torch.optim.Optimizer):
        return _made_before(program, model, made, births, load)
    if not callable(made):
        raise Uncut("the program returns no optimizer; write it where your optimizer is made")
    optimizer, written = from_factory(made, program, model, births, load, seed)
    return Making(model, optimizer, program, written, factory=True)


def _made_before(
    program: Program,
    model: nn.Module,
    made: torch.optim.Optimizer,
    births: Births,
    load: Load,
) -> Making:
    """The making of an optimizer: seen, or, of one that was there before the program ran, read."""
    home, apart = program.home, _apart(made)
    if births.site(made) is None and isinstance(home, Home):
        call, changed = home.call_of("optimizer"), home.changed_at()
        if (
            call is not None
            and home.source.segment(call.func).split(".")[-1] == type(made).__name__
        ):
            whole = home.read("model") if changed < (home.bound_at("optimizer") or 0) else None
            return Making(model, apart, program, Written(home.source, call), whole=whole)
    held = frozenset(id(p) for p in model_of(births.made).parameters())
    names = [
        named.text
        for named in births.named.get(id(made), [])
        if unwrapped(named.module)[0] is model and named.held == held
    ]
    written = called_directly(made, births, load)
    return Making(model, apart, program, written, whole=min(names, key=len, default=None))


def _apart(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """The same optimizer with groups of its own: one made before the program ran is the user's."""
    listed = {id(group["params"]): [*group["params"]] for group in optimizer.param_groups}
    groups = [{**group, "params": listed[id(group["params"])]} for group in optimizer.param_groups]
    apart = object.__new__(type(optimizer))
    apart.__dict__.update({name: listed.get(id(v), v) for name, v in vars(optimizer).items()})
    apart.__dict__.update(param_groups=groups, defaults=dict(optimizer.defaults))
    return apart


def _names_something(written: ast.expr) -> bool:
    """Whether an argument comes from elsewhere, as a setting does: a number would cut it off."""
    return any(isinstance(node, ast.Name) for node in ast.walk(written))


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
