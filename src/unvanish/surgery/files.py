"""Edits as a JSON file: plain numbers and names, no code and no pickle."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from unvanish.errors import BadInput
from unvanish.saved import read_json, write_file
from unvanish.surgery.edits import Edit

SCHEMA = 1


def save(edits: Iterable[Edit], path: str | Path) -> None:
    """Write edits to a file; :func:`load` reads them in any process.

    Raises:
        BadInput: an option is NaN or infinite, which JSON does not have, or the file cannot be
            written.
    """
    record = {"schema": SCHEMA, "edits": [edit.to_json() for edit in edits]}
    try:
        text = json.dumps(record, indent=1, allow_nan=False)
    except ValueError as error:
        raise BadInput(f"an edit holds a number that JSON does not have: {error}.") from error
    write_file(path, text.encode())


def load(path: str | Path) -> tuple[Edit, ...]:
    """The edits that :func:`save` wrote.

    Raises:
        BadInput: the file cannot be read or holds no edits.
    """
    record = read_json(path)
    if record.get("schema") != SCHEMA:
        raise BadInput(
            f"{path} holds edits of schema {record.get('schema')!r}; this unvanish reads {SCHEMA}."
        )
    try:
        return tuple(Edit.from_json(edit) for edit in cast(list[Any], record["edits"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"{path} holds no edits: {error!r}.") from error
