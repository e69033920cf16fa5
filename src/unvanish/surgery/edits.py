"""Edits: one change at one place each, as plain records that JSON holds and a new process replays."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast, get_args

from torch import nn

from unvanish.errors import BadInput

Scalar = bool | int | float | str | None
Action = Literal[
    "initialise",  # new values: options {"method": "critical_" | "lsuv_" | ..., **its keywords}
    "scale",  # parameters multiplied: options {"factor": float}
    "fill",  # parameters set to one number, or to the ramp of chrono gates: options {...}
    "replace",  # the module at `where` gives way to `part`
    "rewrite",  # a function called in the forward of the module at `where`: options {"function", "by"}
    "insert",  # `part` behind (or before) the module: options {"before": bool}
    "wrap",  # a gated skip around the module, or around children of a Sequential
    "register",  # what an attribute holds in a list or dictionary becomes the module's own
    "set",  # an attribute of a module or parameter: options {"name": value}
    "optimizer",  # an option of the optimizer, or a missing parameter: options {"lr": 1e-3, ...}
    "step",  # something that the training step does: options {"clip_norm": 1.0, ...}
    "advice",  # what no program can do for its author: options {"text": str}
]
ARCHITECTURE = frozenset(("replace", "rewrite", "insert", "wrap"))
"""Actions that change which functions the model computes with."""
VALUES = frozenset(("initialise", "scale", "fill"))
"""Actions that change values alone."""
LOOP = frozenset(("optimizer", "step"))
"""Actions that change how it is trained."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A module to build: ``type`` is its dotted name in torch or unvanish, arguments are plain.

    An argument is a scalar, another part, or a tuple of numbers (the mean of each channel).

    >>> part = Part(type="torch.nn.LeakyReLU", arguments={"negative_slope": 0.1})
    >>> part.expression(), part.build()
    ('nn.LeakyReLU(negative_slope=0.1)', LeakyReLU(negative_slope=0.1))
    """

    type: str
    arguments: Mapping[str, "Argument"] = field(default_factory=dict[str, "Argument"])

    def build(self) -> nn.Module:
        """The module.

        Raises:
            BadInput: the type is no module of torch or unvanish, or refuses the arguments.
        """
        module, _, name = self.type.rpartition(".")
        made = None
        if module.partition(".")[0] in ("torch", "unvanish"):
            made = getattr(importlib.import_module(module), name, None)
        if not (isinstance(made, type) and issubclass(made, nn.Module)):
            raise BadInput(f"{self.type} is no module of torch or unvanish.")
        arguments = {
            name: value.build() if isinstance(value, Part) else value
            for name, value in self.arguments.items()
        }
        try:
            return made(**arguments)
        except (TypeError, ValueError) as error:
            raise BadInput(f"{self.expression()} cannot be built: {error}") from error

    def expression(self) -> str:
        """As Python source, with ``torch.nn`` called ``nn``."""
        name = (
            "nn." + self.type.removeprefix("torch.nn.") if "torch.nn." in self.type else self.type
        )
        given = (
            f"{key}={value.expression() if isinstance(value, Part) else repr(value)}"
            for key, value in self.arguments.items()
        )
        return f"{name}({', '.join(given)})"

    def to_json(self) -> dict[str, Any]:
        """Plain dictionaries."""
        arguments = {
            key: {"part": value.to_json()} if isinstance(value, Part) else value
            for key, value in self.arguments.items()
        }
        return {"type": self.type, "arguments": arguments}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Part":
        """The part that :meth:`to_json` wrote."""
        given = cast(dict[str, Any], record["arguments"])
        return cls(type=record["type"], arguments={k: _argument(v) for k, v in given.items()})


Argument = Scalar | Part | tuple[float, ...]


def _argument(value: Any) -> Argument:
    if isinstance(value, dict):
        return Part.from_json(cast(dict[str, Any], value)["part"])
    return tuple(cast(list[float], value)) if isinstance(value, list) else value


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One change at one place.

    ``where`` holds dotted module names (``""``: the model itself), parameter names for ``scale``,
    ``fill`` and ``optimizer``, names of attributes for ``register``; of a stretch of a Sequential,
    its first and last child.
    """

    action: Action
    where: tuple[str, ...] = ()
    part: Part | None = None
    options: Mapping[str, Scalar] = field(default_factory=dict[str, Scalar])

    def __post_init__(self) -> None:
        if self.action not in get_args(Action):
            raise BadInput(f"{self.action!r} is no edit: {', '.join(get_args(Action))}.")

    def to_json(self) -> dict[str, Any]:
        """Plain dictionaries."""
        return {
            "action": self.action,
            "where": list(self.where),
            "part": self.part.to_json() if self.part is not None else None,
            "options": dict(self.options),
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Edit":
        """The edit that :meth:`to_json` wrote."""
        part = record["part"]
        return cls(
            action=record["action"],
            where=tuple(record["where"]),
            part=Part.from_json(part) if part is not None else None,
            options=record["options"],
        )
