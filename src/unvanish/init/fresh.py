"""Whether a weight still is a random draw: what training made must not be thrown away.

A fresh tensor is constant, or orthogonal, or its entries are independent draws from one
distribution around one number, mostly zero: uniform, normal or truncated normal. Training breaks
that in ways that need no look at the data: a few directions grow out of the bulk that random
matrices have, entries leave the box of a uniform draw, tails grow, norms leave the identity.
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
    bias = getattr(module, "bias", None)
    weight = weights.get("weight")
    if weight is None or not isinstance(bias, Tensor) or not _drifted(weight, bias.detach()):
        return None
    return "its biases have drifted out of the box that torch draws them from"


def _drifted(weight: Tensor, bias: Tensor) -> bool:
    """Whether weight and bias are about as large as torch's default draw, and neither is one.

    Small layers, which training leaves without a shape of their own: a bias that somebody drew or
    set himself has another scale, or goes with weights that do.
    """
    values, flat = weight.detach().float().flatten(1).cpu(), bias.float().cpu()
    bound = 1 / math.sqrt(values.shape[1])
    if len(flat) < 8 or bool((flat == flat[0]).all()) or _orthogonal(values):
        return False
    beyond = float(flat.abs().max()) > 1.05 * bound
    sizes = [math.sqrt(3 * float(v.square().mean())) / bound for v in (values, flat)]
    return (
        beyond
        and not _is_box(values.flatten(), values.shape[1])
        and all(0.9 < size < 3 for size in sizes)
    )


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
    values = _centred(values)
    flat = values.flatten()
    inside = flat[flat != 0]  # identity, sparse and delta draws are mostly zero
    if len(inside) < _FEWEST or len(inside) < len(flat) / 2:
        return None
    distances = _distances(inside)
    seen = math.sqrt(_looked_at(len(inside)))
    if min(distances.values()) * seen > _FAR and not _rows_differ(values):
        return "is not distributed as any random draw is"
    if min(distances, key=lambda law: distances[law]) == "box" and _left_the_box(inside):
        return "has entries outside of the box that the others were drawn from"
    if min(values.shape) >= 16 and _largest(values) > _BULK:
        return "has directions that stand out of what is random"
    return None


def _centred(values: Tensor) -> Tensor:
    """Without its mean, where that is no accident and nothing that a training leaves behind.

    Somebody may draw around another number than zero (positive weights). Training moves the mean of
    a matrix by a small part of its deviation: half of it is far more, and the shape that is left is
    still asked for.
    """
    mean, deviation = values.mean(), values.std(correction=0)
    return values - mean if float(mean.abs()) > float(deviation) / 2 else values


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


def _left_the_box(flat: Tensor) -> bool:
    """Whether most entries are uniform, and some lie clearly beyond."""
    edge = math.sqrt(3) * float(flat.double().square().mean().sqrt())
    return len(flat) >= 1000 and float(flat.abs().max()) > 1.1 * edge


def _distances(flat: Tensor) -> dict[str, float]:
    """Kolmogorov-Smirnov distance to each of the distributions that weights are drawn from."""
    if len(flat) > _MOST:
        flat = flat[:: -(-len(flat) // _MOST)]
    ordered = flat.double().sort().values
    steps = torch.arange(1, len(ordered) + 1, dtype=ordered.dtype) / len(ordered)
    scale = float(ordered.square().mean().sqrt())
    half = math.sqrt(0.5)
    # Truncated at two standard deviations, as timm and others draw: their rms is 0.8796 of them.
    inner = (ordered / (scale / 0.87962566)).clamp(-2, 2)
    laws = {
        "normal": (torch.erf(ordered / scale * half) + 1) / 2,
        "box": ((ordered / (math.sqrt(3) * scale)).clamp(-1, 1) + 1) / 2,
        "truncated": (torch.erf(inner * half) / math.erf(2 * half) + 1) / 2,
    }
    return {name: float((steps - law).abs().max()) for name, law in laws.items()}


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
                fits = (min(_distances(p).values()) for p in parts)
                seen = (math.sqrt(_looked_at(len(p))) for p in parts)
                if all(fit * root < _FAR for fit, root in zip(fits, seen, strict=True)):
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
