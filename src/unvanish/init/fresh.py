"""Whether a weight still is a random draw: what training made must not be thrown away.

A fresh tensor is constant, or orthogonal, or its entries are independent draws from one
distribution around zero: uniform, normal or truncated normal. Training breaks that in ways that
need no look at the data: a few directions grow out of the bulk that random matrices have, entries
leave the box of a uniform draw, tails grow, norms leave the identity.
"""

import math

import torch
from torch import Tensor, nn

_FEWEST = 400
"""Entries below which the shape of a distribution says little."""
_FAR = 2.6
"""Kolmogorov-Smirnov distance times the root of the count: one fresh tensor in 400,000 exceeds it."""
_MOST = 200_000
"""Entries that are looked at."""
_BULK = 1.1
"""Largest singular value over that of a random matrix of this shape, in the limit."""

NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def looks_trained(module: nn.Module) -> str | None:
    """Why the values of this module cannot be a first draw; ``None`` where they can."""
    if isinstance(module, NORMS):
        return _trained_norm(module)
    weights = {
        name: value
        for name, value in module.named_parameters(recurse=False)
        if value.dim() >= 2 and value.is_floating_point()
    }
    for name, weight in weights.items():
        said = _trained_weight(weight.detach())
        if said is not None:
            return f"its {name} {said}"
    return None


def _trained_norm(norm: nn.Module) -> str | None:
    for name, value in norm.named_parameters(recurse=False):
        flat = value.detach().flatten()
        if bool((flat != flat[:1]).any()):
            return f"its {name} is not the same for all channels"
    return None


def _trained_weight(weight: Tensor) -> str | None:
    values = weight.float().flatten(1).cpu()
    flat = values.flatten()
    if not bool(flat.isfinite().all()):
        return None  # nothing to save
    if bool((flat == flat[0]).all()) or _orthogonal(values) or _is_box(flat, values.shape[1]):
        return None
    inside = flat[flat != 0]  # identity, sparse and delta draws are mostly zero
    if len(inside) < _FEWEST or len(inside) < len(flat) / 2:
        return None
    if _distance(inside) * math.sqrt(_looked_at(len(inside))) > _FAR and not _rows_differ(values):
        return "is not distributed as any random draw is"
    if min(values.shape) >= 16 and _largest(values) > _BULK:
        return "has directions that stand out of what is random"
    return None


def _orthogonal(values: Tensor) -> bool:
    """Whether rows (or columns, of which there are fewer) are orthogonal: sixteen tell."""
    short = values if values.shape[0] <= values.shape[1] else values.T
    some = short[:: max(1, len(short) // 16)].double()
    gram = some @ some.T
    scale = float(gram.diagonal().mean())
    away = (gram - scale * torch.eye(len(gram), dtype=gram.dtype)).abs().max()
    return len(some) > 1 and scale > 0 and float(away) < 1e-3 * scale


def _is_box(flat: Tensor, fan_in: int) -> bool:
    """Whether this is torch's own default: uniform up to one over the root of the fan-in."""
    bound = 1 / math.sqrt(fan_in)
    largest = float(flat.abs().max())
    nearest = bound * (1 - min(20 / len(flat), 0.5))
    return nearest <= largest <= bound * (1 + 1e-5)


def _distance(flat: Tensor) -> float:
    """Kolmogorov-Smirnov distance to the nearest of the distributions that weights are drawn from."""
    if len(flat) > _MOST:
        flat = flat[:: -(-len(flat) // _MOST)]
    ordered = flat.double().sort().values
    steps = torch.arange(1, len(ordered) + 1, dtype=ordered.dtype) / len(ordered)
    scale = float(ordered.square().mean().sqrt())
    bound = float(ordered.abs().max())
    half = math.sqrt(0.5)
    cut = math.erf(2 * half)
    # Truncated at two standard deviations, as timm and others draw: their rms is 0.8796 of them.
    inner = ordered / (scale / 0.87962566)
    laws = (
        (torch.erf(ordered / scale * half) + 1) / 2,
        (ordered / bound + 1) / 2,
        ((torch.erf(inner.clamp(-2, 2) * half) / cut) + 1) / 2,
    )
    return min(float((steps - law).abs().max()) for law in laws)


def _looked_at(count: int) -> int:
    return -(-count // -(-count // _MOST))


def _rows_differ(values: Tensor) -> bool:
    """Whether blocks of rows were drawn at scales of their own (packed projections)."""
    rows = values.square().mean(1).sqrt()
    count = len(rows)
    for blocks in (2, 3, 4):
        if count % blocks == 0 and count // blocks >= 8:
            parts = [part.flatten() for part in values.chunk(blocks)]
            scales = [float(part.square().mean().sqrt()) for part in parts]
            if max(scales) > 1.05 * min(scales) > 0:
                fits = [_distance(p) * math.sqrt(_looked_at(len(p))) < _FAR for p in parts]
                if all(fits):
                    return True
    return False


def _largest(values: Tensor) -> float:
    """Largest singular value over the edge of the bulk, root(rows) + root(columns), per unit rms."""
    generator = torch.Generator().manual_seed(0)
    scale = float(values.square().mean().sqrt())
    if not scale:
        return 0.0
    vector = torch.randn(values.shape[1], 1, generator=generator, dtype=values.dtype)
    for _ in range(12):
        vector = values.T @ (values @ vector)
        vector = vector / torch.linalg.vector_norm(vector)
    found = float(torch.linalg.vector_norm(values @ vector))
    return found / scale / (math.sqrt(values.shape[0]) + math.sqrt(values.shape[1]))
