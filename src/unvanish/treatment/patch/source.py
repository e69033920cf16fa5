"""A source file that gives way at single places and keeps every other byte."""

import ast
import difflib
import inspect
import io
import re
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import CodeType
from typing import Any

from unvanish.errors import BadInput

BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True, slots=True)
class Site:
    """One expression of a file: lines from 1, columns in UTF-8 bytes, as Python's compiler counts."""

    path: str
    line: int
    column: int
    end_line: int
    end_column: int


class Source:
    """The text of a file, the syntax tree of it, and the changes asked of it so far.

    Changes are splices of the text, so that line ends, tabs, comments, the encoding and all that
    nobody asked to change stay byte for byte.

    Raises:
        BadInput: the file cannot be read, decoded or parsed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.before = path.read_bytes()
            self.encoding, _ = tokenize.detect_encoding(io.BytesIO(self.before).readline)
            self.text = self.before.decode(self.encoding)
            self.tree = ast.parse(self.text)
        except (OSError, SyntaxError, ValueError, LookupError) as error:
            raise BadInput(f"{path} cannot be read as Python source: {error}.") from error
        self._splices: list[tuple[int, int, str]] = []

    @cached_property
    def newline(self) -> str:
        """What ends a line in this file."""
        return "\r\n" if "\r\n" in self.text else "\n"

    @cached_property
    def lines(self) -> list[str]:
        """The lines with their ends, cut where Python cuts them (a form feed ends no line)."""
        return re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+", self.text)

    @cached_property
    def _starts(self) -> list[int]:
        starts = [0]
        for line in self.lines:
            starts.append(starts[-1] + len(line))
        return starts

    def offset(self, line: int, column: int) -> int:
        """Where in the text a place of the compiler lies."""
        written = self.lines[line - 1] if line <= len(self.lines) else ""
        return self._starts[line - 1] + len(written.encode()[:column].decode(errors="replace"))

    def span(self, node: ast.expr | ast.stmt | ast.keyword | ast.alias) -> tuple[int, int]:
        """Where in the text a node begins and ends."""
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return (
            self.offset(node.lineno, node.col_offset),
            self.offset(node.end_lineno, node.end_col_offset),
        )

    def segment(self, node: ast.expr | ast.stmt) -> str:
        """What is written there."""
        start, end = self.span(node)
        return self.text[start:end]

    def compiles_to(self, code: CodeType) -> bool:
        """Whether the file still holds what was compiled when the program was loaded."""
        waiting = [compile(self.tree, str(self.path), "exec", dont_inherit=True)]
        while waiting:
            found = waiting.pop()
            if (found.co_name, found.co_firstlineno) == (code.co_name, code.co_firstlineno):
                return found.co_code == code.co_code and found.co_names == code.co_names
            waiting += [inner for inner in found.co_consts if isinstance(inner, CodeType)]
        return False

    def call_at(self, site: Site) -> ast.Call | None:
        """The call that the compiler placed there; None where the file is not what was compiled."""
        place = (site.line, site.column, site.end_line, site.end_column)
        return self._calls.get(place)

    @cached_property
    def _calls(self) -> dict[tuple[int, int, int | None, int | None], ast.Call]:
        return {
            (node.lineno, node.col_offset, node.end_lineno, node.end_col_offset): node
            for node in ast.walk(self.tree)
            if isinstance(node, ast.Call)
        }

    def touched(self, statement: ast.stmt) -> bool:
        """Whether a change lies in the lines of a statement."""
        start, end = self.lines_of(statement)
        return any(start < last and first < end for first, last, _ in self._splices)

    def free(self, start: int, end: int) -> bool:
        """Whether no earlier change touches this stretch."""
        return not any(
            (start < last and first < end) or (start == first and end == last and start < end)
            for first, last, _ in self._splices
        )

    def replace(self, start: int, end: int, text: str) -> bool:
        """Put ``text`` there; False, and nothing done, where an earlier change is in the way."""
        if not self.free(start, end):
            return False
        self._splices.append((start, end, text))
        return True

    def insert_once(self, place: int, text: str) -> None:
        """Put ``text`` there, unless an earlier change did."""
        if (place, place, text) not in self._splices:
            self._splices.append((place, place, text))

    def cut(self, start: int, end: int, text: str) -> str:
        """Put ``text`` there; returns what stood there, with the changes made inside of it."""
        inside = [splice for splice in self._splices if start <= splice[0] and splice[1] <= end]
        self._splices = [splice for splice in self._splices if splice not in inside]
        taken = _spliced(self.text, inside, start, end)
        self._splices.append((start, end, text))
        return taken

    def alone(self, statement: ast.stmt) -> bool:
        """Whether the lines of a statement hold nothing else than it and a comment."""
        start, end = self.span(statement)
        before = self.text[self._starts[statement.lineno - 1] : start]
        assert statement.end_lineno is not None
        after = self.text[end : self._starts[statement.end_lineno]]
        return (
            not before.strip(" \t\f" + BYTE_ORDER_MARK)
            and re.match(r"\s*(#.*)?$", after) is not None
        )

    def indentation(self, statement: ast.stmt) -> str:
        """What stands before a statement on its line."""
        written = self.lines[statement.lineno - 1].lstrip(BYTE_ORDER_MARK)
        return written[: len(written) - len(written.lstrip(" \t\f"))]

    def add_before(self, statement: ast.stmt, lines: list[str]) -> None:
        """New lines above a statement, as far to the right as it."""
        indent = self.indentation(statement)
        text = "".join(f"{indent}{line}{self.newline}" for line in lines)
        place = self.lines_of(statement)[0]
        if self.text.startswith(BYTE_ORDER_MARK) and place == 0:
            place = 1
        self._splices.append((place, place, text))

    def add_after(self, statement: ast.stmt, lines: list[str]) -> None:
        """New lines below a statement, as far to the right as it."""
        indent = self.indentation(statement)
        assert statement.end_lineno is not None
        place = self._starts[statement.end_lineno]
        ended = self.lines[statement.end_lineno - 1].endswith(("\n", "\r"))
        text = self.newline.join(indent + line for line in lines)
        self._splices.append((place, place, text + self.newline if ended else self.newline + text))

    def lines_of(self, statement: ast.stmt) -> tuple[int, int]:
        """Where in the text the lines of a statement begin and end, its decorators with them."""
        assert statement.end_lineno is not None
        decorators: list[ast.expr] = getattr(statement, "decorator_list", [])
        first = min([statement.lineno, *(decorator.lineno for decorator in decorators)])
        return self._starts[first - 1], self._starts[statement.end_lineno]

    def remove(self, statement: ast.stmt) -> bool:
        """Take the lines of a statement away; False where something else is on them."""
        return self.alone(statement) and self.replace(*self.lines_of(statement), "")

    @property
    def after(self) -> bytes:
        """The file with all changes."""
        return _spliced(self.text, self._splices, 0, len(self.text)).encode(self.encoding)

    def parses(self) -> bool:
        """Whether the changed file is still Python."""
        try:
            ast.parse(self.after)
        except (SyntaxError, ValueError):
            return False
        return True

    def diff(self, root: Path) -> str:
        """The changes as a unified diff for ``git apply`` in ``root``; empty where there are none.

        Bytes that are not UTF-8 are held as surrogate escapes, as ``os.fsdecode`` does.
        """
        name = self.path.relative_to(root).as_posix()
        name += "\t" if " " in name else ""  # as git ends a name with a space in it
        before, after = (list(_git_lines(content)) for content in (self.before, self.after))
        written = difflib.unified_diff(before, after, f"a/{name}", f"b/{name}")
        return "".join(
            line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
            for line in written
        )


def file_of(function: Callable[..., Any]) -> Path | None:
    """The file that a function was written in, behind its decorators; None where there is none."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    path = Path(code.co_filename) if code is not None else None
    return path.resolve() if path is not None and path.is_file() else None


def _spliced(text: str, splices: list[tuple[int, int, str]], start: int, end: int) -> str:
    """A stretch of the text with changes made; those at one place stay in their order."""
    made = ""
    for first, last, new in sorted(splices, key=lambda splice: splice[:2]):
        made += text[start:first] + new
        start = last
    return made + text[start:end]


def _git_lines(content: bytes) -> Iterator[str]:
    for line in re.findall(rb"[^\n]*\n|[^\n]+", content):
        yield line.decode("utf-8", "surrogateescape")
