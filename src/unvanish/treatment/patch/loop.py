"""Edits to how a model is trained: the optimizer where it is made, the step where it is taken."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from unvanish.surgery.edits import Scalar
from unvanish.treatment.patch.names import Names
from unvanish.treatment.patch.source import Source


@dataclass(frozen=True, slots=True)
class Step:
    """``backward()`` and the ``step()`` behind it, in one block of a training loop.

    ``model`` and ``optimizer`` are what the loop calls them (model: None where it is not named
    there), ``scaler`` what it calls its loss scaler, ``unscaled`` whether the gradients have been
    brought back to their scale in between.
    """

    backward: ast.stmt
    taken: ast.stmt
    optimizer: str
    model: str | None
    scaler: str | None
    unscaled: bool


def find_steps(source: Source, model: str) -> list[Step]:
    """The training steps of a file; ``model`` is what the program calls its model."""
    return [
        step
        for node in ast.walk(source.tree)
        if isinstance(node, ast.For | ast.While | ast.FunctionDef | ast.With | ast.If)
        for step in _steps_in(source, node, model)
    ]


def clip(source: Source, names: Names, steps: list[Step], most: float) -> None:
    """Put global norm clipping between each backward pass and its step."""
    for step in steps:
        called = names.called("torch.nn.utils.clip_grad_norm_")
        group = f'p for group in {step.optimizer}.param_groups for p in group["params"]'
        what = f"{step.model}.parameters()" if step.model else f"[{group}]"
        unscale = [f"{step.scaler}.unscale_({step.optimizer})"]
        lines = unscale if step.scaler and not step.unscaled else []
        source.add_before(step.taken, [*lines, f"{called}({what}, {most!r})"])


def clear(source: Source, steps: list[Step]) -> None:
    """Put ``zero_grad`` above each backward pass."""
    for step in steps:
        source.add_before(step.backward, [f"{step.optimizer}.zero_grad()"])


def by_hand(name: str, value: Scalar) -> str:
    """What to write into a training loop that is not in sight, or for which no line is short."""
    between = "between loss.backward() and optimizer.step()"
    lines = {
        "clip_norm": f"add torch.nn.utils.clip_grad_norm_(model.parameters(), {value}) {between}",
        "zero_grad": "add optimizer.zero_grad() in front of loss.backward()",
        "warm_up": f"make torch.optim.lr_scheduler.LinearLR(optimizer, 1 / {value}, total_iters={value}) "
        "and call its step() behind each optimizer.step()",
        "loss_scale": f"write (loss * {value}).backward(), and divide every p.grad by {value} {between}",
        "clip_adaptive": f"scale each p.grad to {value} times the norm of p where it is longer, {between}",
        "clip_percentile": "keep the norms of past gradients and clip to their percentile "
        f"{value} by torch.nn.utils.clip_grad_norm_ {between}",
    }
    return f"{lines.get(name, f'{name} = {value} in your training step')}."


def _steps_in(source: Source, node: ast.AST, model: str) -> Iterator[Step]:
    block: list[ast.stmt] = getattr(node, "body", [])
    started: int | None = None
    for index, statement in enumerate(block):
        name, call = _method(statement)
        if name == "backward":
            started = index
        elif name == "step" and call is not None and started is not None:
            between = [_method(s)[0] for s in block[started:index]]
            if "clip_grad_norm_" not in between and source.alone(statement):
                yield _step(source, (block[started], statement), call, model, "unscale_" in between)
            started = None


def _step(
    source: Source, ends: tuple[ast.stmt, ast.stmt], call: ast.Call, model: str, unscaled: bool
) -> Step:
    assert isinstance(call.func, ast.Attribute)
    stepped = source.segment(call.func.value)
    scaler = stepped if call.args else None  # scaler.step(optimizer)
    optimizer = source.segment(call.args[0]) if call.args else stepped
    known = _names_at(source.tree, ends[1])
    return Step(*ends, optimizer, model if model in known else None, scaler, unscaled)


def _method(statement: ast.stmt) -> tuple[str | None, ast.Call | None]:
    """The name of the method or function that a statement calls for its effect."""
    value = getattr(statement, "value", None)
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
        return value.func.attr, value
    return None, None


def _names_at(tree: ast.Module, statement: ast.stmt) -> set[str]:
    """The names bound in the functions around a statement, and in the module outside of functions."""
    around = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and any(n is statement for n in ast.walk(node))
    ]
    scopes: list[ast.AST] = [*around, *(s for s in tree.body if not _defines(s))]
    bound: set[str] = set()
    for node in (n for scope in scopes for n in ast.walk(scope)):
        if isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.add(node.id)
    return bound


def _defines(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
