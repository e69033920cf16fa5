"""Edits to how a model is trained: the optimizer where it is made, the step where it is taken."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from unvanish.surgery.edits import Scalar
from unvanish.treatment.patch.calls import set_argument
from unvanish.treatment.patch.names import Names
from unvanish.treatment.patch.source import Source


@dataclass(frozen=True, slots=True)
class Step:
    """``backward()`` and the ``step()`` behind it, in one block of a training loop.

    ``model`` and ``optimizer`` are what the loop calls them (model: None where it is not named
    there), ``scaler`` what it calls its loss scaler, ``unscaled`` whether the gradients have been
    brought back to their scale in between, ``clipped`` the call that clips their norm now,
    ``loop`` the outermost loop around it in its function.
    """

    backward: ast.stmt
    taken: ast.stmt
    optimizer: str
    model: str | None
    scaler: str | None
    unscaled: bool
    clipped: ast.Call | None
    loop: ast.stmt | None


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
        if step.clipped is not None:
            set_argument(source, step.clipped, "max_norm", 1, repr(most))
            continue
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


def control(source: Source, names: Names, steps: list[Step], options: Mapping[str, Scalar]) -> bool:
    """Let :class:`unvanish.surgery.Controls` work before each step; False where it has no place."""
    if any(step.model is None or step.loop is None or step.scaler for step in steps):
        return False
    told = ", ".join(f'"{name}": {value!r}' for name, value in options.items())
    for step in steps:
        assert step.loop is not None
        made = names.called("unvanish.surgery.Controls")
        controls = names.fresh("controls")
        source.add_before(step.loop, [f"{controls} = {made}({{{told}}})"])
        source.add_before(step.taken, [f"{controls}({step.model}, {step.optimizer})"])
    return True


def by_hand(options: Mapping[str, Scalar]) -> str:
    """What to write into a training loop that is not in sight, or too unlike others."""
    if set(options) == {"clip_norm"}:
        clip = f"torch.nn.utils.clip_grad_norm_(model.parameters(), {options['clip_norm']})"
        return f"add {clip} between loss.backward() and optimizer.step()."
    if set(options) == {"zero_grad"}:
        return "add optimizer.zero_grad() in front of loss.backward()."
    return (
        f"make controls = unvanish.surgery.Controls({dict(options)}) once, and write each step as "
        "loss = controls.before_backward(loss, optimizer); loss.backward(); "
        "if controls(model, optimizer): optimizer.step()."
    )


def _steps_in(source: Source, node: ast.AST, model: str) -> Iterator[Step]:
    block: list[ast.stmt] = getattr(node, "body", [])
    started: int | None = None
    for index, statement in enumerate(block):
        name, call = _method(statement)
        if name == "backward":
            started = index
        elif name == "step" and call is not None and started is not None:
            if source.alone(statement) and source.alone(block[started]):
                yield _step(source, block[started : index + 1], call, model)
            started = None


def _step(source: Source, block: list[ast.stmt], call: ast.Call, model: str) -> Step:
    assert isinstance(call.func, ast.Attribute)
    stepped = source.segment(call.func.value)
    around = _around(source.tree, block[-1])
    loops = [node for node in around if isinstance(node, ast.For | ast.While)]
    between = dict(_method(statement) for statement in block[1:-1])
    return Step(
        backward=block[0],
        taken=block[-1],
        optimizer=source.segment(call.args[0]) if call.args else stepped,  # scaler.step(optimizer)
        model=model if model in _bound(source.tree, around) else None,
        scaler=stepped if call.args else None,
        unscaled="unscale_" in between,
        clipped=between.get("clip_grad_norm_"),
        loop=loops[0] if loops else None,
    )


def _around(tree: ast.Module, statement: ast.stmt) -> list[ast.AST]:
    """The function around a statement and what lies between them; outside of functions, all of it."""
    around: list[ast.AST] = []
    for node in ast.walk(tree):  # outside in
        if (
            node is not tree
            and node is not statement
            and any(n is statement for n in ast.walk(node))
        ):
            around = [node] if isinstance(node, ast.FunctionDef) else [*around, node]
    return around


def _method(statement: ast.stmt) -> tuple[str | None, ast.Call | None]:
    """The name of the method or function that a statement calls for its effect."""
    value = getattr(statement, "value", None)
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
        return value.func.attr, value
    return None, None


def _bound(tree: ast.Module, around: list[ast.AST]) -> set[str]:
    """The names bound in what lies around a statement, and in the module outside of functions."""
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
