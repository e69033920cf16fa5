"""Where the source writes the call whose arguments an optimizer has: direct, or in a factory.

A factory is called once on the model's parameters, watched as the program was: of a lambda or a
function that shows the call in it. Only the call of ``functools.partial`` itself leaves no trace
of that kind, as no Python runs in it; it is found by the name that the program returns it under.
"""

import ast
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from unvanish.treatment.patch.births import Births, watch
from unvanish.treatment.patch.block import Uncut
from unvanish.treatment.patch.modules import Load
from unvanish.treatment.patch.names import resolved
from unvanish.treatment.patch.program import Program
from unvanish.treatment.patch.source import Source
from unvanish.treatment.patch.statements import inside


@dataclass(frozen=True, slots=True)
class Written:
    """A call in a source; ``positional``: its arguments stand as the optimizer's class takes them."""

    source: Source
    call: ast.Call
    positional: bool = True


def called_directly(
    optimizer: torch.optim.Optimizer, births: Births, load: Load, others: Births | None = None
) -> Written | None:
    """The call that made this optimizer and no other one, ``others`` being of another run."""
    site = births.site(optimizer)
    seen = [births] if others is None else [births, others]
    made = [born for run in seen for born in run.all if run.sites.get(id(born)) == site]
    if site is None or len(made) != 1 or Path(site.path) == Path(__file__):
        return None
    source, _ = load(Path(site.path))
    call = source.call_at(site)
    return Written(source, call) if call is not None else None


def from_factory(
    factory: Any, program: Program, model: nn.Module, births: Births, load: Load, seed: int
) -> tuple[torch.optim.Optimizer, Written | None]:
    """What a factory makes of the model's parameters, and the call that it makes it with.

    Raises:
        Uncut: the factory fails, or gives no optimizer.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    try:
        seen = watch(lambda: factory(trained), seed)
    except Exception as error:
        raise Uncut(f"the factory of the optimizer failed ({error})") from error
    if not isinstance(seen.made, torch.optim.Optimizer):
        raise Uncut("the program returns no optimizer; write it where your optimizer is made")
    if isinstance(factory, functools.partial) and isinstance(factory.func, type):
        return seen.made, _written_partial(program, set(factory.keywords))
    return seen.made, called_directly(seen.made, seen, load, births)


def _written_partial(program: Program, given: set[str]) -> Written | None:
    """The call of partial behind what the program returns, if it gives these keywords."""
    written = program.parts.get("optimizer")
    if isinstance(written, ast.Name):
        written = _bound_to(program, written.id)
    if not isinstance(written, ast.Call) or len(written.args) != 1:
        return None
    meant = resolved(program.source, written.func, program.function) == "functools.partial"
    same = {keyword.arg for keyword in written.keywords} == given
    return Written(program.source, written, positional=False) if meant and same else None


def _bound_to(program: Program, name: str) -> ast.expr | None:
    """What the one assignment to a name gives it: in the program's function, else in its file."""
    for scope in (program.function, program.source.tree):
        nodes = list(inside(scope))
        stores = [node for node in nodes if isinstance(node, ast.Name) and node.id == name]
        stored = [node for node in stores if isinstance(node.ctx, ast.Store)]
        if stored:
            bindings = [n for n in nodes if isinstance(n, ast.Assign) and n.targets == stored]
            return bindings[0].value if bindings else None
    return None
