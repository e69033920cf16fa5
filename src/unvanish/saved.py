"""Records that survive a file: dataclasses as plain JSON, and back; files that are whole or not there."""

import contextlib
import dataclasses
import json
import math
import os
import secrets
import types
import typing
from pathlib import Path
from typing import Any, ClassVar, Self

from unvanish.errors import BadInput


class Saved:
    """What a dataclass needs to be written to a file and read from it, in any process.

    ``SCHEMA`` is the number of the form, for records that outlive a version: then it is written, and
    what bears another one is refused.
    """

    __slots__ = ()

    SCHEMA: ClassVar[int | None] = None

    def to_json(self) -> dict[str, Any]:
        """Plain dictionaries and lists; non-finite numbers become strings."""
        written: dict[str, Any] = plain(self)
        return written if self.SCHEMA is None else {"schema": self.SCHEMA, **written}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """The record that :meth:`to_json` wrote.

        Raises:
            BadInput: another schema, or a field is missing or unknown.
        """
        if cls.SCHEMA is None:
            return restore(cls, data)
        if data.get("schema") != cls.SCHEMA:
            raise BadInput(
                f"this {cls.__name__} has schema {data.get('schema')!r}, this unvanish reads "
                f"{cls.SCHEMA}: make it again with this version."
            )
        return restore(cls, {key: value for key, value in data.items() if key != "schema"})

    def save(self, path: str | Path) -> None:
        """Write it as JSON.

        Raises:
            BadInput: the file cannot be written.
        """
        write_file(path, json.dumps(self.to_json(), allow_nan=False).encode())

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what :meth:`save` wrote.

        Raises:
            BadInput: the file cannot be read, or holds something else.
        """
        return cls.from_json(read_json(path))


def write_file(path: str | Path, content: bytes) -> None:
    """Write a file that a caller named, all of it or nothing.

    Raises:
        BadInput: the file cannot be written.
    """
    try:
        write_whole(Path(path), content)
    except OSError as error:
        raise BadInput(
            f"cannot write {path}: {error.strerror or type(error).__name__}; pass the name of a "
            "file in a folder that exists and can be written to."
        ) from error


def write_whole(path: Path, content: bytes) -> None:
    """Write beside its place first: under the real name there is never half a file.

    Raises:
        OSError: as writing straight to it would; what stood there before stays.
    """
    path = Path(os.path.realpath(path))  # a link goes on pointing to what it did
    known = path.exists()
    if known and not path.is_file():  # a pipe, a terminal; a folder, which says so itself
        path.write_bytes(content)
        return
    draft = path.with_name(f".unvanish-{secrets.token_hex(8)}.part")
    try:
        if known:
            path.open("ab").close()  # one that is protected stays
            draft.touch()
            draft.chmod(path.stat().st_mode)
        draft.write_bytes(content)
        draft.replace(path)
    except PermissionError:
        if not known:
            raise
        path.write_bytes(content)  # the file alone is free to be written, not what is around it
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()


def read_json(path: str | Path) -> dict[str, Any]:
    """The JSON object in a file, or one sentence about what is wrong with it."""
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}.") from error
    except ValueError as error:
        raise BadInput(f"{path} is not JSON ({error}): pass a file that .save() wrote.") from error
    if not isinstance(data, dict):
        raise BadInput(f"{path} holds no JSON object: pass a file that .save() wrote.")
    return typing.cast(dict[str, Any], data)


def plain(value: Any) -> Any:
    """Records to dictionaries, tuples to lists, non-finite floats to their names."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, typing.Mapping):
        return {str(k): plain(v) for k, v in typing.cast(dict[Any, Any], value).items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in typing.cast(list[Any], value)]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # "nan", "inf", "-inf": JSON has no other way to say them
    return value


def restore(kind: Any, value: Any) -> Any:
    """The inverse of :func:`plain`, led by the type annotations of the records.

    Raises:
        BadInput: a field is missing or unknown.
    """
    origin = typing.get_origin(kind)
    if value is None or kind is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        inner = [part for part in typing.get_args(kind) if part is not type(None)]
        return restore(inner[0], value)
    if origin is tuple:
        return tuple(restore(typing.get_args(kind)[0], item) for item in value)
    if origin is not None and issubclass(origin, typing.Mapping):
        return {key: restore(typing.get_args(kind)[1], item) for key, item in value.items()}
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        try:
            made = {name: restore(hints[name], item) for name, item in value.items()}
            return typing.cast(type[Any], kind)(**made)
        except (AttributeError, KeyError, TypeError) as error:
            wanted = typing.cast(type[Any], kind).__name__
            raise BadInput(f"not a saved {wanted}: {error}.") from error
    return float(value) if kind is float else value
