"""A heat map as a PNG picture of one byte a point, written without any library of pictures.

PNG: ISO/IEC 15948; a palette of 256 colours, of which the first two are "not read" and "exactly zero".
"""

import base64
import struct
import zlib

import numpy as np
from numpy.typing import NDArray

# Ten places of the viridis map (van der Walt and Smith 2015), read between them in a straight line: even
# steps of lightness, and readable for the colour-blind.
_VIRIDIS = (
    (68, 1, 84), (72, 40, 120), (62, 73, 137), (49, 104, 142), (38, 130, 142),
    (31, 158, 137), (53, 183, 121), (110, 206, 88), (181, 222, 43), (253, 231, 37),
)  # fmt: skip
_UNREAD, _ZERO = (128, 128, 128), (200, 50, 60)
UNREAD, ZERO, DARKEST = 0, 1, 2
"""Bytes of what was not read, of an exact zero, of the smallest number."""


def palette() -> list[tuple[int, int, int]]:
    """256 colours: not read, exactly zero, then dark to light."""
    places = np.linspace(0, len(_VIRIDIS) - 1, 256 - DARKEST)
    channels = [np.interp(places, range(len(_VIRIDIS)), [c[k] for c in _VIRIDIS]) for k in range(3)]
    return [
        _UNREAD,
        _ZERO,
        *zip(*(channel.round().astype(int).tolist() for channel in channels), strict=True),
    ]


def as_bytes(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.uint8]:
    """Logarithms as places in the palette; that of zero (``-inf``) as ``ZERO``, NaN as ``UNREAD``."""
    share = np.nan_to_num((values - low) / max(high - low, 1e-12), nan=0.0, neginf=0.0)
    levels = DARKEST + np.clip(share * (255 - DARKEST), 0, 255 - DARKEST)
    levels = np.where(np.isneginf(values), ZERO, levels)
    return np.where(np.isnan(values), UNREAD, levels).round().astype(np.uint8)


def png(points: NDArray[np.uint8]) -> bytes:
    """A picture of (rows, columns) points in the palette."""
    height, width = points.shape
    rows = np.zeros((height, width + 1), np.uint8)  # each row begins with its filter: none
    rows[:, 1:] = points
    colours = bytes(channel for colour in palette() for channel in colour)
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunk(kind, data)
        for kind, data in (
            (b"IHDR", header),
            (b"PLTE", colours),
            (b"IDAT", zlib.compress(rows.tobytes(), 9)),
            (b"IEND", b""),
        )
    )


def data_address(picture: bytes) -> str:
    """The picture as an address that needs no file."""
    return "data:image/png;base64," + base64.b64encode(picture).decode("ascii")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
