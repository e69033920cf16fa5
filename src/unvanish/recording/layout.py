"""How a recording lies on disk: one SQLite file, its tables, and its numbers as plain bytes.

Anything that reads SQLite can read it: one blob of little-endian float32 for each statistic and
step, one number a tensor in the order of the table ``tensor``; a histogram is little-endian uint32,
64 a tensor, compressed by zlib. The rest is text, numbers and JSON.
"""

import json
import math
import zlib
from collections.abc import Mapping
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from unvanish.errors import BadInput
from unvanish.recording.records import Counts, Event, Floats
from unvanish.recording.statistics import HISTOGRAM_BINS

APPLICATION: Final = 0x756E7661
"""``unva``: by this number a file says whose it is (SQLite's application_id)."""
VERSION: Final = 1

HISTOGRAM: Final = "gradient_log2_histogram"

TABLES: Final[dict[str, str]] = {
    "about": "key TEXT PRIMARY KEY, value TEXT NOT NULL",
    "tensor": "position INTEGER PRIMARY KEY, name TEXT NOT NULL, shape TEXT NOT NULL, dtype TEXT NOT NULL",
    "step": "step INTEGER PRIMARY KEY, seconds REAL NOT NULL, stage TEXT NOT NULL",
    "scalar": "name TEXT NOT NULL, step INTEGER NOT NULL, value REAL, PRIMARY KEY (name, step)",
    "reading": (
        "statistic TEXT NOT NULL, step INTEGER NOT NULL, numbers BLOB NOT NULL, "
        "PRIMARY KEY (statistic, step)"
    ),
    "event": "id INTEGER PRIMARY KEY, step INTEGER NOT NULL, kind TEXT NOT NULL, said TEXT NOT NULL",
    "look": "step INTEGER PRIMARY KEY, diagnosis BLOB NOT NULL",
}
"""A ``value`` that is NULL was NaN: SQLite has no other way to keep one."""

INDEX: Final = "CREATE INDEX event_step ON event (step);\n"


def creation() -> str:
    """The statements that make an empty recording."""
    tables = "".join(f"CREATE TABLE {name} ({columns});\n" for name, columns in TABLES.items())
    tables = tables.replace(
        "PRIMARY KEY (name, step));", "PRIMARY KEY (name, step)) WITHOUT ROWID;"
    )
    return (
        f"PRAGMA application_id = {APPLICATION};\nPRAGMA user_version = {VERSION};\n{tables}{INDEX}"
    )


def floats_to_bytes(values: NDArray[Any]) -> bytes:
    """One number a tensor, copied, as little-endian float32."""
    return np.ascontiguousarray(values, dtype="<f4").reshape(-1).tobytes()


def floats_from_bytes(blob: Any, place: str) -> Floats:
    """What :func:`floats_to_bytes` wrote.

    Raises:
        BadInput: these are not whole numbers of four bytes.
    """
    if not isinstance(blob, bytes) or len(blob) % 4:
        raise BadInput(f"the recording is damaged: {place} is cut off; other steps can be read.")
    return np.frombuffer(blob, dtype="<f4").astype(np.float32, copy=False)


def counts_to_bytes(counts: NDArray[Any]) -> bytes:
    """The counts (tensors, 64), copied, as little-endian uint32, not yet compressed.

    Raises:
        ValueError: the array has another shape.
    """
    counts = np.ascontiguousarray(counts, dtype="<u4")
    if counts.ndim != 2 or counts.shape[1] != HISTOGRAM_BINS:
        raise ValueError(f"a histogram is (tensors, {HISTOGRAM_BINS}), not {counts.shape}")
    return counts.tobytes()


def counts_from_bytes(blob: Any, tensors: int, place: str) -> Counts:
    """The histograms of the first ``tensors`` tensors, (at most ``tensors``, 64).

    Raises:
        BadInput: the blob cannot be unpacked.
    """
    row = 4 * HISTOGRAM_BINS
    raw = unpacked(blob, tensors * row, place)
    if len(raw) % row:
        raise BadInput(f"the recording is damaged: {place} is cut off; other steps can be read.")
    return np.frombuffer(raw, dtype="<u4").astype(np.uint32, copy=False).reshape(-1, HISTOGRAM_BINS)


def unpacked(blob: Any, most: int, place: str) -> bytes:
    """At most the first ``most`` bytes of what zlib packed.

    Raises:
        BadInput: it is not zlib's, or is cut off before it says that it ends.
    """
    stream = zlib.decompressobj()
    try:
        raw = stream.decompress(blob, most) if most else b""
    except (zlib.error, TypeError) as error:
        raise BadInput(
            f"the recording is damaged: {place} cannot be unpacked ({error}); other steps can be read."
        ) from error
    if len(raw) < most and not stream.eof:
        raise BadInput(f"the recording is damaged: {place} is cut off; other steps can be read.")
    return raw


def to_json(value: Any) -> str:
    """Strict JSON: numbers that are not finite become strings, what JSON cannot hold its text."""
    return json.dumps(_plain(value), allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, Mapping):
        items = cast(Mapping[Any, Any], value).items()
        return {str(key): _plain(inner) for key, inner in items}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(inner) for inner in cast(list[Any], value)]
    return str(value)


def event_from_json(said: Any) -> Event:
    """The event that ``to_json(event.plain())`` wrote.

    Raises:
        BadInput: it is none.
    """
    try:
        data = json.loads(said)
        return Event(
            kind=str(data["kind"]),
            name=str(data["name"]),
            step=int(data["step"]),
            seconds=float(data["seconds"]),
            severity=str(data["severity"]),
            where=tuple(str(place) for place in data["where"]),
            evidence={str(key): float(number) for key, number in data["evidence"].items()},
            detail=str(data["detail"]),
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BadInput(f"the recording is damaged: an event cannot be read ({error}).") from error
