"""Edits as lines of the program, below the model: where no call in the source can be changed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from unvanish.surgery.edits import Edit, Part
from unvanish.treatment.patch.births import Births
from unvanish.treatment.patch.block import Block, Uncut
from unvanish.treatment.patch.places import parameters_in, place
from unvanish.treatment.patch.program import Program
from unvanish.treatment.patch.spelling import written_edit, written_range, written_tuple

MANY = 3  # lines of the same kind, before a loop says it more briefly


@dataclass(slots=True)
class Lines:
    """Writes lines that do to the program's model what surgery does to a copy of it."""

    model: nn.Module
    births: Births
    program: Program
    seed: int = 0
    block: Block = field(init=False)

    def __post_init__(self) -> None:
        self.block = self.program

    def write(self, edit: Edit) -> None:
        """Add the lines.

        Raises:
            Uncut: the program cannot take them.
        """
        by_action: Mapping[str, Callable[[Edit], None]] = {
            "initialise": self._initialise,
            "replace": self._replace,
            "insert": self._insert,
            "scale": self._scale,
            "fill": self._fill,
            "set": self._set,
        }
        self.block = self.program.block(self._needs(edit))
        by_action.get(edit.action, self._apply)(edit)

    def _initialise(self, edit: Edit) -> None:
        options = dict(edit.options)
        method = str(options.pop("method", "critical_"))
        only, leave = options.pop("only", None), options.pop("leave", None)
        names = edit.where if only is None else tuple(str(only).split(","))
        given = self._run()
        if names:
            given.append(f"only={written_tuple([n.strip() for n in names])}")
        if leave:
            given.append(f"leave={written_tuple([n.strip() for n in str(leave).split(',')])}")
        given += [f"{name}={value!r}" for name, value in options.items()]
        if self.seed:
            given.append(f"seed={self.seed}")
        called = self.block.names.called(f"unvanish.init.{method}", self.block.function)
        call = f"{called}({', '.join([self.block.read('model'), *given])})"
        self.block.add([call], self._run_needs())

    def _replace(self, edit: Edit) -> None:
        part = edit.part
        if part is None or not self._simple(edit.where) or _holds(part.build()):
            self._apply(edit)
            return
        if any(_holds(self.model.get_submodule(name)) for name in edit.where):
            self._apply(edit)
            return
        self._assign(edit.where, part)

    def _assign(self, where: Sequence[str], part: Part) -> None:
        model, made = self.block.read("model"), self._expression(part)
        parent = {name.rpartition(".")[0] for name in where}
        lines = [f"{place(model, self.model, name)} = {made}" for name in where]
        if len(where) > MANY:
            lasts = [name.rpartition(".")[2] for name in where]
            owner = place(model, self.model, min(parent))
            if len(parent) == 1 and all(line.startswith(f"{owner}[") for line in lines):
                steps = written_range([int(last) for last in lasts])
                index = self.block.free("index")
                lines = [f"for {index} in {steps}:", f"{self.block.unit}{owner}[{index}] = {made}"]
            else:
                name = self.block.free("name")
                body = f"{self.block.unit}{model}.set_submodule({name}, {made})"
                lines = [f"for {name} in {written_tuple(where)}:", body]
        self.block.add(lines, ("model",))

    def _insert(self, edit: Edit) -> None:
        part = edit.part
        if part is None or not self._simple(edit.where) or self._in_sequential(edit.where):
            self._apply(edit)
            return
        self._check_optimizer()
        called = self.block.names.called("unvanish.nn.extend_", self.block.function)
        side = "before" if edit.options.get("before") else "behind"
        kind = type(part.build()).__name__
        rest = f'{self._expression(part)}, "{side}", "{"norm" if "Norm" in kind else kind.lower()}"'
        model = self.block.read("model")
        lines = [f"{called}({place(model, self.model, name)}, {rest})" for name in edit.where]
        if len(lines) > MANY:
            name = self.block.free("name")
            body = f"{self.block.unit}{called}({model}.get_submodule({name}), {rest})"
            lines = [f"for {name} in {written_tuple(edit.where)}:", body]
        self.block.add(lines, ("model",))

    def _scale(self, edit: Edit) -> None:
        within = self.block.names.called("torch.no_grad", self.block.function)
        model, unit = self.block.read("model"), self.block.unit
        change = f".mul_({edit.options['factor']!r})"
        names = _once(self.model, parameters_in(self.model, edit.where))
        lines = [f"{unit}{place(model, self.model, name)}{change}" for name in names]
        if len(lines) > MANY:
            each = self.block.free("name")
            lines = [
                f"{unit}for {each} in {written_tuple(names)}:",
                f"{unit}{unit}{model}.get_parameter({each}){change}",
            ]
        self.block.add([f"with {within}():", *lines], ("model",))

    def _fill(self, edit: Edit) -> None:
        if edit.options.get("gate") is not None:
            self._apply(edit)
            return
        called = self.block.names.called("torch.nn.init.constant_", self.block.function)
        model, value = self.block.read("model"), edit.options["value"]
        names = _once(self.model, parameters_in(self.model, edit.where))
        lines = [f"{called}({place(model, self.model, name)}, {value!r})" for name in names]
        if len(lines) > MANY:
            each = self.block.free("name")
            lines = [
                f"for {each} in {written_tuple(names)}:",
                f"{self.block.unit}{called}({model}.get_parameter({each}), {value!r})",
            ]
        self.block.add(lines, ("model",))

    def _set(self, edit: Edit) -> None:
        if "norm_first" in edit.options:
            self._apply(edit)
            return
        model = self.block.read("model")
        lines: list[str] = []
        for name in edit.where:
            owner = place(model, self.model, name)
            for option, value in edit.options.items():
                methods = {"requires_grad": ".requires_grad_", "training": ".train"}
                known = option in methods
                lines.append(
                    f"{owner}{methods[option]}({value!r})"
                    if known
                    else f"{owner}.{option} = {value!r}"
                )
        self.block.add(lines, ("model",))

    def _apply(self, edit: Edit) -> None:
        """The general way: a treated copy takes the model's name."""
        looks = _looks(edit) and self._tuple()
        if _looks(edit) and not looks:
            raise Uncut("the shapes around it are known only on a batch, and the data is a loader")
        self._check_optimizer(*(("data", "loss") if looks else ()))
        called, model = self._surgery()
        run = ["batch=" + self.block.read("data")] if looks else []
        run += [f"loss={self.block.read('loss')}"] if run else []
        seed = [f"seed={self.seed}"] if self.seed else []
        made = self.block.free("edit")
        given = ", ".join([model, f"[{made}]", *run, *seed])
        lines = [f"{made} = {written_edit(edit, called)}", f"{model} = {called}.apply({given})"]
        if run:
            self.block.add(lines, ("model", "data", "loss"))
            return
        self.block.add(lines, ("model",))

    def _surgery(self) -> tuple[str, str]:
        """The names of unvanish.surgery and of the model that is to become its own treated copy."""
        if not self.block.local("model"):
            raise Uncut("the model is made outside of the program's function")
        called = self.block.names.called("unvanish.surgery", self.block.function)
        return called, self.block.read("model")

    def write_alike(self, edits: Sequence[Edit]) -> None:
        """Skips around one module each that lead x on as it is: alike but for their places.

        Raises:
            Uncut: the program cannot take them.
        """
        self.block = self.program.block(("model",))
        self._check_optimizer()
        called, model = self._surgery()
        unit = self.block.unit
        names = [edit.where[0] for edit in edits]
        name, made = self.block.free("name"), self.block.free("edit")
        lines = [
            f"for {name} in {written_tuple(names)}:",
            f"{unit}{made} = {written_edit(edits[0], called, f'({name},)')}",
            f"{unit}{model} = {called}.apply({model}, [{made}])",
        ]
        self.block.add(lines, ("model",))

    def _check_optimizer(self, *needs: str) -> None:
        """New parameters must be there when the optimizer is made.

        Raises:
            Uncut: they would not be.
        """
        is_made = isinstance(self.block.made_of("optimizer"), torch.optim.Optimizer)
        made = self.block.bound_at("optimizer") if is_made else None
        if made is not None and self.block.place(("model", *needs)) > made:
            raise Uncut("the program changes its model after the optimizer is made")

    def _run(self) -> list[str]:
        forward = self.block.made_of("forward") is not None
        data = self.block.made_of("data")
        if isinstance(data, Iterator):
            raise Uncut("its data is an iterator, whose first batch would be used up")
        keys = ("data", "forward") if forward else ("data", "loss")
        return [
            f"forward={self.block.read(k)}" if k == "forward" else self.block.read(k) for k in keys
        ]

    def _needs(self, edit: Edit) -> tuple[str, ...]:
        """What the lines of an edit will name."""
        if edit.action == "initialise":
            return self._run_needs()
        looks = _looks(edit) and self._tuple()
        return ("model", "data", "loss") if looks else ("model",)

    def _run_needs(self) -> tuple[str, ...]:
        forward = self.block.made_of("forward") is not None
        return ("model", "data", "forward" if forward else "loss")

    def _tuple(self) -> bool:
        return isinstance(self.block.made_of("data"), tuple) and callable(
            self.block.made_of("loss")
        )

    def _expression(self, part: Part) -> str:
        return self.block.names.expression(part, self.block.function)

    def _in_sequential(self, where: Sequence[str]) -> bool:
        parents = [self.model.get_submodule(name.rpartition(".")[0]) for name in where if name]
        return any(
            type(parent) is nn.Sequential and not self.model.get_submodule(name).state_dict()
            for parent, name in zip(parents, where, strict=False)
        )

    def _simple(self, where: Sequence[str]) -> bool:
        """Whether an assignment does all that surgery does: device, dtype, mode, hooks, other places."""
        named = dict(self.model.named_modules(remove_duplicate=False))
        counts = [sum(m is named.get(name) for m in named.values()) for name in where]
        floats = {
            (p.dtype, p.device.type) for p in self.model.parameters() if p.is_floating_point()
        }
        modes = {module.training for module in named.values()}
        fused = any(
            isinstance(m, nn.TransformerEncoderLayer | nn.TransformerEncoder)
            for m in named.values()
        )
        usual = floats <= {(torch.get_default_dtype(), "cpu")} and modes == {True}
        return "" not in where and set(counts) == {1} and usual and not fused


def _looks(edit: Edit) -> bool:
    """Whether the shapes around a place must be seen on a batch."""
    return edit.action == "wrap" and "projection" not in edit.options


def _holds(module: nn.Module) -> bool:
    """Whether a module holds more than what its class and arguments say."""
    hooks: Any = (*module._forward_hooks, *module._forward_pre_hooks, *module._backward_hooks)
    return bool(module.state_dict()) or bool(hooks)


def _once(model: nn.Module, names: list[str]) -> list[str]:
    kept = {name for name, _ in model.named_parameters()}
    return [name for name in names if name in kept]
