"""What the nearest other samples say of each sample: how much there is that no line can tell."""

import math

import torch
from torch import Tensor

from unvanish.trial.ridge import standardised


def from_neighbours(inputs: Tensor, targets: Tensor) -> Tensor:
    """For each sample the mean target of its nearest others, itself not among them.

    Nothing is trained and no form is supposed. With many samples a single neighbour is wrong at
    most twice as often as anything can be (Cover and Hart 1967); of 1, 2, 4, ... neighbours up to
    the root of the number of samples those are taken that err least (squared error, each sample
    left out). Distances are those of standardised inputs.

    Args:
        inputs: (samples, features), at least two samples.
        targets: (samples, targets).

    Returns:
        (samples, targets) in double precision.

    >>> angle = torch.linspace(0, 6.28, 100)[:, None]
    >>> ring = torch.cat([angle.cos(), angle.sin()], 1)
    >>> two_rings, labels = torch.cat([ring, 2 * ring]), torch.arange(200)[:, None] // 100
    >>> bool((from_neighbours(two_rings, labels) == labels).all())
    True
    """
    x, wanted = standardised(inputs.double()), targets.double()
    apart = torch.cdist(x, x).fill_diagonal_(math.inf)
    counts = [2**power for power in range(1 + int(math.log2(len(x)) / 2))]
    nearest = apart.topk(min(counts[-1], len(x) - 1), largest=False).indices
    said = [wanted[nearest[:, :count]].mean(1) for count in counts]
    errors = [float((answers - wanted).square().sum()) for answers in said]
    return said[errors.index(min(errors))]
