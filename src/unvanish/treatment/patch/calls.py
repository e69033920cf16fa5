"""Arguments of a call changed, added or taken away, with the commas and lines around them."""

import ast
import io
import itertools
import re
import tokenize

from unvanish.treatment.patch.source import Source


def set_argument(
    source: Source, call: ast.Call, name: str, position: int | None, text: str
) -> bool:
    """Give an argument another value: by keyword, where it stands by position, else added.

    ``position`` is where the signature has it (None: by keyword only). False, and nothing is done,
    where the call hides its arguments (``*arguments``, ``**options``) or was changed before.
    """
    for keyword in call.keywords:
        if keyword.arg == name:
            return source.replace(*source.span(keyword.value), text)
    if any(keyword.arg is None for keyword in call.keywords):
        return False
    if any(isinstance(argument, ast.Starred) for argument in call.args):
        return False
    if position is not None and position < len(call.args):
        return source.replace(*source.span(call.args[position]), text)
    return _add(source, call, f"{name}={text}")


def argument_of(call: ast.Call, name: str, position: int | None) -> ast.expr | None:
    """What a call gives for an argument; None where it gives nothing or hides what it gives."""
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value
    hidden = any(isinstance(argument, ast.Starred) for argument in call.args)
    if hidden or position is None or position >= len(call.args):
        return None
    return call.args[position]


def drop_keyword(source: Source, call: ast.Call, name: str) -> bool:
    """Take a keyword argument away, with the comma before it; False where it is the first one."""
    arguments = [*call.args, *call.keywords]
    for before, argument in itertools.pairwise(arguments):
        if isinstance(argument, ast.keyword) and argument.arg == name:
            return source.replace(source.span(before)[1], source.span(argument)[1], "")
    return False


def _add(source: Source, call: ast.Call, argument: str) -> bool:
    arguments = sorted([*call.args, *call.keywords], key=lambda a: source.span(a))
    end = source.span(call)[1] - 1
    if not arguments:
        start = source.text.rindex("(", 0, end)
        clean = not source.text[start + 1 : end].strip()
        return clean and source.replace(end, end, argument)
    last = arguments[-1]
    if isinstance(last, ast.GeneratorExp):
        return False  # it stands without brackets of its own while it is alone
    place = source.span(last)[1]
    place += _brackets(source.text[place:end])
    if not source.free(place, place):
        return False
    indent = source.text[: source.span(last)[0]].rpartition("\n")[2]
    rest = source.text[place:].partition("\n")[0]
    open_ended = re.match(r"\s*(,?)\s*(#.*)?$", rest)
    if indent.strip() or last.lineno == call.lineno or open_ended is None:
        return source.replace(place, place, f", {argument}")
    if not open_ended[1]:
        source.insert_once(place, ",")
    below = place + len(rest) + 1
    return source.replace(below, below, f"{indent}{argument},{source.newline}")


def _brackets(rest: str) -> int:
    """How far the closing brackets of the last argument itself reach behind it."""
    reach = 0
    try:
        for token in tokenize.generate_tokens(io.StringIO(f"({rest}").readline):
            if token.string == ")":
                lines = rest.splitlines(keepends=True)
                before = sum(len(line) for line in lines[: token.end[0] - 1])
                reach = before + token.end[1] - (1 if token.end[0] == 1 else 0)
            elif token.string == ",":
                break
    except tokenize.TokenError:
        pass
    return reach
