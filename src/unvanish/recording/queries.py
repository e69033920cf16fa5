"""Asking a recording's file: whatever is wrong with it becomes one sentence."""

import contextlib
import json
import sqlite3
import threading
import weakref
from collections.abc import Generator
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from unvanish.errors import BadInput

Steps = NDArray[np.int64]


class Queries:
    """One connection to one file, for any number of threads, one at a time."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._lock = threading.RLock()
        # A recording that was opened for one look and forgotten is let go with its last name.
        weakref.finalize(self, connection.close)

    def rows(self, query: str, *given: Any) -> list[tuple[Any, ...]]:
        """What the query gives.

        Raises:
            BadInput: the file is damaged, closed or gone.
        """
        with self._lock:
            try:
                return self._connection.execute(query, given).fetchall()
            except sqlite3.ProgrammingError as error:
                raise BadInput(f"the recording {self._path} was closed: open it again.") from error
            except OverflowError as error:
                raise BadInput("a step must be a whole number below 2^63.") from error
            except (sqlite3.Error, UnicodeDecodeError) as error:
                raise BadInput(f"the recording {self._path} cannot be read: {error}.") from error

    def steps(self, query: str, *given: Any) -> Steps:
        """The steps that the query gives."""
        return integers([step for (step,) in self.rows(query, *given)])

    def about(self, key: str, default: Any) -> Any:
        """A fact about the whole recording."""
        rows = self.rows("SELECT value FROM about WHERE key = ?", key)
        found = parsed(rows[0][0], f"its entry {key!r}") if rows else default
        if not isinstance(found, type(default)):
            raise BadInput(
                f"the recording {self._path} is damaged: its entry {key!r} is no such thing."
            )
        return found

    @contextlib.contextmanager
    def snapshot(self) -> Generator[None]:
        """Everything read inside is of one moment, however much is being written."""
        with self._lock:
            if self._connection.in_transaction:
                yield
                return
            self.rows("BEGIN")
            try:
                yield
            finally:
                self.rows("COMMIT")

    def close(self) -> None:
        with self._lock:
            self._connection.close()


def integers(steps: list[Any]) -> Steps:
    """Steps as an array.

    Raises:
        BadInput: one of them is no whole number.
    """
    if set(map(type, steps)) - {int}:
        raise BadInput("the recording is damaged: a step has no number.")
    return np.array(steps, dtype=np.int64)


def numbers(values: list[Any]) -> NDArray[np.float64]:
    """Numbers of the file as an array; NULL is NaN.

    Raises:
        BadInput: one of them is none.
    """
    if set(map(type, values)) - {float, int, type(None)}:
        values = [number(value) for value in values]  # says which is wrong
    return np.array(values, dtype=np.float64)


def number(value: Any) -> float:
    """A number of the file; NULL is NaN.

    Raises:
        BadInput: it is none.
    """
    if value is None:
        return float("nan")
    if not isinstance(value, int | float):
        raise BadInput(f"the recording is damaged: {value!r:.40} should be a number.")
    return float(value)


def parsed(text: Any, place: str) -> Any:
    """JSON of the file.

    Raises:
        BadInput: it is none.
    """
    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise BadInput(f"the recording is damaged: {place} cannot be read ({error}).") from error


def shape_of(text: Any) -> tuple[int, ...]:
    """The shape of a tensor.

    Raises:
        BadInput: it is none.
    """
    sizes = parsed(text, "a shape")
    if not isinstance(sizes, list) or not all(isinstance(s, int) for s in cast(list[Any], sizes)):
        raise BadInput("the recording is damaged: a shape is no list of whole numbers.")
    return tuple(cast(list[int], sizes))
