"""Another seed for weights that somebody else drew: the same distribution, other values."""

import zlib

import torch
from torch import Tensor, nn

from unvanish.init.fresh import looks_trained


@torch.no_grad()
def redraw(model: nn.Module, seed: int) -> int:
    """Shuffle every weight tensor that still looks like a random draw, in place.

    What training made stays (see :func:`unvanish.init.fresh.looks_trained`), as do biases, frozen
    and parametrized tensors, and draws whose entries belong together: mirrored, sparse and constant
    ones. The rows of an orthogonal draw are put in another order, which keeps it one. A tensor of
    the same name and shape is shuffled alike in every model, so that two arms share what they can.

    Returns:
        How many tensors were drawn again.
    """
    drawn = 0
    done: set[int] = set()
    for place, module in model.named_modules():
        own = [(n, p) for n, p in module.named_parameters(recurse=False) if id(p) not in done]
        done.update(id(parameter) for _, parameter in own)
        loose = [(n, p) for n, p in own if p.requires_grad and p.dim() >= 2 and p.numel() > 1]
        if not loose or "parametrizations" in place or looks_trained(module) is not None:
            continue
        for name, parameter in loose:
            # Of a seed, torch's generator on the CPU takes 32 bits.
            mixed = zlib.crc32(f"{seed} {place}.{name}".encode())
            generator = torch.Generator().manual_seed(mixed)
            drawn += _shuffle(parameter, _block_rows(module, parameter), generator)
    return drawn


def is_independent(module: nn.Module, weight: Tensor) -> bool:
    """Whether the entries of a fresh matrix belong to nothing but themselves.

    Orthogonal, mirrored, sparse and constant ones were made with a purpose, their scale too.
    """
    blocks = [rows.detach().flatten(1).cpu() for rows in weight.split(_block_rows(module, weight))]
    return not any(_structured(rows) or _orthogonal(rows) for rows in blocks)


def _block_rows(module: nn.Module, weight: Tensor) -> int:
    """Rows of a gate or projection: packed ones are draws of their own, each at its own scale."""
    if isinstance(module, nn.RNNBase | nn.RNNCellBase) and isinstance(module.hidden_size, int):
        size = module.hidden_size
    else:
        size = weight[0].numel()
    return size if weight.shape[0] % size == 0 else weight.shape[0]


def _shuffle(weight: Tensor, block: int, generator: torch.Generator) -> bool:
    flat = weight.detach().flatten(1).cpu()
    if not bool(flat.isfinite().all()) or _structured(flat):
        return False
    for rows in weight.split(block):
        if _orthogonal(rows.detach().flatten(1).cpu()):
            order = torch.randperm(len(rows), generator=generator).to(rows.device)
            rows.copy_(rows[order])
        else:
            order = torch.randperm(rows.numel(), generator=generator).to(rows.device)
            rows.copy_(rows.flatten()[order].view_as(rows))
    return True


def _structured(flat: Tensor) -> bool:
    """Whether values are repeated by design: mostly zeros, one constant, rows or columns mirrored."""
    if int((flat == 0).sum()) * 2 > flat.numel() or bool((flat == flat[0, 0]).all()):
        return True
    return any(_mirrored(sums) for sums in (flat.double().sum(0), flat.double().sum(1)))


def _mirrored(sums: Tensor) -> bool:
    """Whether most of these sums stand beside their own negatives."""
    found = torch.isin(sums, -sums) & (sums != 0)
    nothing = sums == 0  # columns that two mirrored halves of the rows cancel
    return len(sums) > 1 and int((found | nothing).sum()) * 2 > len(sums)


def _orthogonal(rows: Tensor) -> bool:
    short = (rows if rows.shape[0] <= rows.shape[1] else rows.T).double()
    some = short[:: max(1, len(short) // 16)]
    gram = some @ some.T
    scale = float(gram.diagonal().mean())
    away = float((gram - scale * torch.eye(len(gram), dtype=gram.dtype)).abs().max())
    return len(some) > 1 and scale > 0 and away < 1e-3 * scale
