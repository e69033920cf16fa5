"""Other weights for a copy of a model: neutral ones, or its own drawn again."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


@torch.no_grad()
def make_neutral(model: nn.Module, variances: Mapping[str, float]) -> int:
    """Give each layer weights that neither amplify nor attenuate; biases zero, norms the identity.

    Normal of variance v / fan_in, where v is 2 before a rectifier (He et al. 2015,
    arXiv:1502.01852, eq. 10) and 1 where nothing else is said; recurrent weights orthogonal.

    Args:
        model: changed in place.
        variances: v of the modules where it is not 1, by name.

    Returns:
        How many modules with parameters of their own were left as they are.
    """
    left = 0
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
            fan_in = module.weight[0].numel()
            nn.init.normal_(module.weight, std=math.sqrt(variances.get(name, 1.0) / fan_in))
            if isinstance(module.bias, Tensor):
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.RNNBase | nn.RNNCellBase):
            _neutral_recurrence(module)
        elif isinstance(module, _NORMS):
            for part, parameter in module.named_parameters(recurse=False):
                nn.init.constant_(parameter, float(part == "weight"))
        else:
            left += bool(list(module.parameters(recurse=False)))
    return left


def _neutral_recurrence(module: nn.Module) -> None:
    for name, parameter in module.named_parameters(recurse=False):
        if parameter.dim() < 2:
            nn.init.zeros_(parameter)
        elif "_hh" in name and parameter.shape[0] % parameter.shape[1] == 0:
            for gate in parameter.chunk(parameter.shape[0] // parameter.shape[1]):
                gate.copy_(nn.init.orthogonal_(torch.empty_like(gate)))
        else:
            nn.init.normal_(parameter, std=1 / math.sqrt(parameter.shape[1]))


@torch.no_grad()
def draw_again(model: nn.Module, seed: int) -> None:
    """Shuffle the entries of every weight tensor: another draw of the same distribution.

    What stays under it is due to the scale of the weights and the structure, what goes was due to
    these very values: an unlucky seed, or what training made of them.
    """
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.dim() >= 2:
            parameter.copy_(_shuffled(parameter, seed))


def _shuffled(tensor: Tensor, seed: int) -> Tensor:
    order = torch.randperm(tensor.numel(), generator=torch.Generator().manual_seed(seed))
    return tensor.flatten()[order.to(tensor.device)].view_as(tensor)
