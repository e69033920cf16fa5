"""Calls of torch functions in Python source: found by what they mean, exchanged by libcst."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F

from unvanish.errors import CannotCut, MissingExtra

if TYPE_CHECKING:
    import libcst
else:
    try:
        import libcst
    except ImportError:
        libcst = None

Resolve = Callable[[str], Any]
"""What a dotted name means where the source stands; raises NameError or AttributeError."""

ACTIVATIONS = frozenset(
    """relu leaky_relu prelu rrelu elu selu celu gelu silu mish relu6 sigmoid tanh softplus softsign
    hardtanh hardswish hardsigmoid logsigmoid tanhshrink softshrink hardshrink threshold
    """.split()
)
"""The functions that count as activations, by their names in torch."""
SHARES = frozenset(("softmax", "log_softmax", "softmin"))
"""What makes shares of the entries along a dimension, and stands in an activation's place at times."""
EXCHANGEABLE = ACTIVATIONS | SHARES | {"detach"}
"""The functions whose calls can be exchanged."""
NOTHING = "identity"
"""What a call is exchanged for where its argument is to stand alone."""


@dataclass(slots=True)
class Exchange:
    """What to exchange, and what was met on the way.

    ``write(argument)`` gives the source of the new call around the source of its argument.
    """

    function: str
    write: Callable[[str], str]
    resolve: Resolve
    nth: int | None = None
    met: list[str] = field(default_factory=list[str])
    done: int = 0


def exchanged_calls(source: str, exchange: Exchange) -> str:
    """The source with the calls exchanged; everything else, comments too, as it was.

    A call is one of ``torch``'s or ``torch.nn.functional``'s by whatever name, or a method of a
    tensor. What worked in place and was a statement of its own becomes an assignment.

    Raises:
        CannotCut: an in-place call whose result goes nowhere has no name to assign to.
        MissingExtra: libcst is not installed.
    """
    if libcst is None:
        raise MissingExtra(
            "rewriting a forward needs libcst: pip install 'unvanish[treat]', or pip install libcst."
        )
    return libcst.parse_module(source).visit(_transformer(exchange)).code


def called_function(
    call: "libcst.Call", resolve: Resolve
) -> tuple[str, "libcst.BaseExpression"] | None:
    """The torch name of the function that is called, without ``_`` behind it, and its argument."""
    text = libcst.Module([]).code_for_node(call.func)
    name = _meaning(text, resolve)
    if name is not None:
        first = [a for a in call.args if a.keyword is None or a.keyword.value == "input"][:1]
        return (name, first[0].value) if first and not first[0].star else None
    if isinstance(call.func, libcst.Attribute) and not _known(text.split(".")[0], text, resolve):
        method = call.func.attr.value
        plain = method.removesuffix("_")
        # A module of the user's may be called self.relu: with arguments it is no method of a tensor.
        bare = not call.args or (plain in SHARES and _is_dimension(call.args[0].value))
        if plain in EXCHANGEABLE and hasattr(torch.Tensor, method) and bare:
            return plain, call.func.value
    return None


def alone(argument: str) -> str:
    """The source of an argument where it stands without its call: in brackets where it needs them."""
    node = libcst.parse_expression(argument)
    whole = libcst.Name | libcst.Attribute | libcst.Call | libcst.Subscript
    return argument if isinstance(node, whole) or node.lpar else f"({argument})"


def writes_in_place(call: "libcst.Call") -> bool:
    """Whether the call changes its argument: ``relu_``, ``inplace=True``."""
    text = libcst.Module([]).code_for_node(call.func)
    flags = [a.value for a in call.args if a.keyword is not None and a.keyword.value == "inplace"]
    return text.endswith("_") or any(
        isinstance(value, libcst.Name) and value.value == "True" for value in flags
    )


def meanings() -> Mapping[int, str]:
    """The torch functions that can be exchanged, by identity."""
    found: dict[int, str] = {}
    for name in EXCHANGEABLE:
        for home in (F, torch):
            for spelled in (name, f"{name}_"):
                if callable(getattr(home, spelled, None)):
                    found[id(getattr(home, spelled))] = name
    return found


_MEANINGS = meanings()


def _is_dimension(value: "libcst.BaseExpression") -> bool:
    """Whether this is the number of a dimension: a module called with a tensor has none."""
    if isinstance(value, libcst.UnaryOperation):
        value = value.expression
    return isinstance(value, libcst.Integer)


def _meaning(text: str, resolve: Resolve) -> str | None:
    if not text.replace(".", "").replace("_", "").isalnum():
        return None
    try:
        return _MEANINGS.get(id(resolve(text)))
    except (NameError, AttributeError):
        return None


def _known(root: str, text: str, resolve: Resolve) -> bool:
    """Whether the name leads to a module, a class or a function: then it is no tensor's method."""
    try:
        resolve(root)
    except (NameError, AttributeError):
        return False
    return text.replace(".", "").replace("_", "").isalnum()


def _transformer(exchange: Exchange) -> Any:
    class Transformer(libcst.CSTTransformer):
        """Exchanges calls, and makes assignments of the statements that worked in place."""

        def leave_Call(  # noqa: N802
            self, original_node: "libcst.Call", updated_node: "libcst.Call"
        ) -> "libcst.BaseExpression":
            found = called_function(updated_node, exchange.resolve)
            if found is None:
                return updated_node
            name, argument = found
            place = exchange.met.count(name)
            exchange.met.append(name)
            if name != exchange.function or exchange.nth not in (None, place):
                return updated_node
            exchange.done += 1
            written = exchange.write(libcst.Module([]).code_for_node(argument))
            return libcst.parse_expression(written)

        def leave_Expr(  # noqa: N802
            self, original_node: "libcst.Expr", updated_node: "libcst.Expr"
        ) -> "libcst.BaseSmallStatement":
            before, behind = original_node.value, updated_node.value
            if not isinstance(before, libcst.Call) or not isinstance(behind, libcst.Call):
                return updated_node
            found = called_function(before, exchange.resolve)
            if found is None or not writes_in_place(before) or behind.func.deep_equals(before.func):
                return updated_node
            target = found[1]
            if not isinstance(target, libcst.Name | libcst.Attribute | libcst.Subscript):
                raise CannotCut(
                    f"{exchange.function} works in place on something without a name: "
                    f"{libcst.Module([]).code_for_node(before)}"
                )
            return libcst.Assign([libcst.AssignTarget(target)], behind)

    return Transformer()
