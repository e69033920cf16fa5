"""The dtypes that are read as they are, by the numbers that the compiled passes know them by."""

from typing import Final

import torch

FLOAT32: Final = 0
BFLOAT16: Final = 1
FLOAT16: Final = 2
FLOAT64: Final = 3

KINDS: Final = {
    torch.float32: FLOAT32,
    torch.bfloat16: BFLOAT16,
    torch.float16: FLOAT16,
    torch.float64: FLOAT64,
}
"""Every other dtype is converted to one of these before it is read."""
