"""Each edit written where the source takes it best: a call, a class, the program's lines, a loop."""

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from torch import nn

from unvanish.probe.compiled import unwrapped
from unvanish.surgery.describe import describe
from unvanish.surgery.edits import ARCHITECTURE, VALUES, Edit, Part, Scalar
from unvanish.surgery.registering import register
from unvanish.treatment.patch import loop, optimizers
from unvanish.treatment.patch.births import Births, model_of, watch
from unvanish.treatment.patch.block import Uncut
from unvanish.treatment.patch.freezing import thaw
from unvanish.treatment.patch.functions import Forwards
from unvanish.treatment.patch.lines import MANY, Lines
from unvanish.treatment.patch.modules import Making
from unvanish.treatment.patch.names import Names
from unvanish.treatment.patch.origins import home_of
from unvanish.treatment.patch.places import owner_of
from unvanish.treatment.patch.program import Program
from unvanish.treatment.patch.registering import Holding
from unvanish.treatment.patch.source import Source
from unvanish.treatment.patch.unreached import unreached


@dataclass(slots=True)
class Writing:
    """One patch on its way: the files it changes, and what they could not take."""

    model: nn.Module
    seed: int
    files: dict[Path, tuple[Source, Names]] = field(
        default_factory=dict[Path, tuple[Source, Names]]
    )
    cannot: list[str] = field(default_factory=list[str])
    births: Births = field(default_factory=Births)
    program: Program | None = None
    optimizer: optimizers.Making | None = None
    reason: str = "no program was given"
    lined: bool = False

    def load(self, path: Path) -> tuple[Source, Names]:
        """A source file, read once."""
        path = path.resolve()
        if path not in self.files:
            source = Source(path)
            self.files[path] = (source, Names(source))
        return self.files[path]

    def open(self, program: Callable[[], Any] | None) -> None:
        """Watch the program make the model, and find its function."""
        if program is None:
            return
        try:
            births = watch(program, self.seed)
            model = unwrapped(model_of(births.made))[0]
        except Exception as error:
            self.reason = f"the program failed when it was run again ({error})"
            return
        if _shape(model) != _shape(self.model):
            self.reason = "the program made another model when it was run again"
            return
        # Another function in a model that the program trains would train it to other values.
        self.model, self.births, self.lined = model, births, births.trained
        try:
            self.program = Program(program, births.made, self.load)
            self.program.home = home_of(self.program, births, self.load)
        except Uncut as error:
            self.reason = str(error)

    def write(self, edits: tuple[Edit, ...]) -> None:
        """Write one edit, or several replacements together."""
        handlers: Mapping[str, Callable[[Edit], None]] = {
            "optimizer": self._optimizer,
            "step": self._step,
            "rewrite": self._rewrite,
            "insert": self._insert,
            "set": self._set,
            "register": self._register,
            "advice": self._advise,
        }
        if edits[0].action == "replace":
            self._replace(edits)
            return
        if len(edits) > MANY:
            self._alike(edits)
            return
        for edit in edits:
            try:
                handlers.get(edit.action, self._line)(edit)
            except Uncut as error:
                self.cannot.append(f"{describe(edit)}: {error}.")

    def close(self) -> None:
        """Write what was collected: names, lines, imports."""
        if self.program is not None:
            self.program.finish()
            missed = unreached(self.program, self.births, self.load)
            self.cannot += [missed] if missed is not None else []
        for source, names in list(self.files.values()):
            if source.after != source.before:  # a line that could not be written leaves no import
                names.write_imports()
            if not source.parses():
                self.give_up(f"{source.path} would no longer be Python")

    def give_up(self, why: str) -> None:
        """No source is changed."""
        self.files.clear()
        self.cannot.append(f"the source could not be changed: {why.rstrip('.')}; use the script.")

    def _replace(self, edits: tuple[Edit, ...]) -> None:
        parts: dict[str, Part] = {}
        for edit in edits:
            assert edit.part is not None
            parts.update(dict.fromkeys(edit.where, edit.part))
        left = list(parts) if self.lined else self._making.replace(parts)
        while left:
            part = parts[left[0]]
            same = [name for name in left if parts[name] == part]
            left = [name for name in left if name not in same]
            self._try_lines(Edit(action="replace", where=tuple(same), part=part))

    def _rewrite(self, edit: Edit) -> None:
        forwards = Forwards(self.model, self.births, self.load)
        left = list(edit.where) if self.lined else forwards.rewrite(edit)
        self._rest(edit, left)

    def _insert(self, edit: Edit) -> None:
        assert edit.part is not None
        left, before = list(edit.where), bool(edit.options.get("before"))
        if not self.lined:
            left = self._making.insert(left, edit.part, before=before)
        self._rest(edit, left)

    def _set(self, edit: Edit) -> None:
        left = list(edit.where)
        if dict(edit.options) == {"requires_grad": True} and self.program is not None:
            left = thaw(self.program, self.model, left)
            owner = owner_of(self.model, left) if left else None
            left = left if owner is None else [owner]
        elif not self.lined and "requires_grad" not in edit.options:
            left = self._making.set_options(left, edit.options)
        self._rest(edit, left)

    def _register(self, edit: Edit) -> None:
        holding = Holding(self.model, self.load)
        left = list(edit.where) if self.lined else holding.register(edit.where)
        try:
            self._rest(edit, left)
        finally:
            register(self.model, edit)  # later edits name what is inside

    def _alike(self, edits: tuple[Edit, ...]) -> None:
        """Many skips of one kind in one loop."""
        try:
            self._lines("wrap").write_alike(edits)
            self.lined = True
        except Uncut as error:
            self.cannot += [f"{describe(edit)}: {error}." for edit in edits]

    def _rest(self, edit: Edit, left: list[str]) -> None:
        if left:
            self._line(
                Edit(action=edit.action, where=tuple(left), part=edit.part, options=edit.options)
            )

    def _try_lines(self, edit: Edit) -> None:
        try:
            self._line(edit)
        except Uncut as error:
            self.cannot.append(f"{describe(edit)}: {error}.")

    def _lines(self, action: str) -> Lines:
        if self.program is None:
            raise Uncut(f"{self.reason}; use the script")
        if self.program.made_of("model") is not self.model and action != "initialise":
            raise Uncut("the program wraps its model (torch.compile); use the script before that")
        return Lines(self.model, self.births, self.program, self.seed)

    def _line(self, edit: Edit) -> None:
        self._lines(edit.action).write(edit)
        if edit.action in ARCHITECTURE | VALUES | {"set", "register"}:
            self.lined = True

    def _optimizer(self, edit: Edit) -> None:
        if self.program is None:
            raise Uncut(f"{self.reason}; write it where your optimizer is made")
        if self.optimizer is None:
            self.optimizer = optimizers.made_by(
                self.program, self.model, self.births, self.load, self.seed
            )
        self.optimizer.change(edit)

    def _step(self, edit: Edit) -> None:
        root = self.program.parts.get("model") if self.program is not None else None
        model = root.id if isinstance(root, ast.Name) else "model"
        options = dict(edit.options)
        if self.program is not None and self._into_loop(self.program, model, options):
            return
        self.cannot.append(f"{describe(edit)}: {loop.by_hand(options)}")

    def _into_loop(self, program: Program, model: str, options: dict[str, Scalar]) -> bool:
        source, names = program.source, program.names
        steps = loop.find_steps(source, model)
        if not steps or "loss_scale" in options:
            return False
        if set(options) == {"clip_norm"}:
            loop.clip(source, names, steps, cast(float, options["clip_norm"]))
        elif options == {"zero_grad": True}:
            loop.clear(source, steps)
        else:
            return loop.control(source, names, steps, options)
        return True

    def _advise(self, edit: Edit) -> None:
        self.cannot.append(str(edit.options.get("text", describe(edit))))

    @property
    def _making(self) -> Making:
        return Making(self.model, self.births, self.load)


def _shape(model: nn.Module) -> list[tuple[str, str]]:
    return [(name, type(module).__qualname__) for name, module in model.named_modules()]
