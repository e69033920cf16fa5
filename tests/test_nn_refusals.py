"""Parts that are given what they cannot work on say so in a sentence."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

import unvanish.nn as own
from unvanish import init
from unvanish.errors import BadInput

UNFIT: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "learned slope": (nn.PReLU, "slope of the activation jumps"),
    "a slope a channel": (lambda: nn.PReLU(3), "any shape"),
    "over channels": (nn.Softmax2d, "any shape"),
    "a layer": (lambda: nn.Linear(3, 3), "any shape"),
    "two inputs": (lambda: nn.Bilinear(2, 2, 2), "any shape"),
}


@pytest.mark.parametrize("name", UNFIT)
@pytest.mark.parametrize("shaping", [own.ShapedActivation, own.TailoredActivation])
def test_what_is_no_smooth_activation_is_refused(name: str, shaping: type[nn.Module]) -> None:
    make, said = UNFIT[name]
    with pytest.raises(BadInput, match=said):
        shaping(make(), 10)


class Swish(nn.Module):
    """With a factor of its own, in float32."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.sigmoid(self.factor * x)


def test_a_smooth_activation_with_numbers_of_its_own_is_read_in_float64() -> None:
    module = Swish()
    shaped, known = own.ShapedActivation(module, 10), own.ShapedActivation(nn.SiLU(), 10)
    assert shaped.transform.scale == pytest.approx(known.transform.scale, rel=1e-4)
    assert shaped.activation is module
    assert module.factor.dtype == torch.float32


@pytest.mark.parametrize("shape", [(4, 5), (4, 1), (), (3,)], ids=str)
def test_constants_stand_for_as_many_features(shape: tuple[int, ...]) -> None:
    layer = own.Standardize([0.0, 1.0, 2.0], [1.0, 2.0, 3.0], axis=1)
    with pytest.raises(BadInput, match="3 features"):
        layer(torch.zeros(shape))
    assert layer(torch.ones(4, 3, 2))[0, :, 0].tolist() == pytest.approx([1, 0, -1 / 3])


def test_a_mean_is_finite() -> None:
    with pytest.raises(BadInput, match="finite"):
        own.Standardize(math.nan, 1.0)


def test_extensions_know_three_places() -> None:
    layer = nn.Linear(2, 2)
    with pytest.raises(BadInput, match="place"):
        own.extend_(layer, nn.ReLU(), "inside", "part")  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="module"):
        own.extend_(layer, 3, "behind", "part")  # type: ignore[arg-type]
    assert type(layer) is nn.Linear


def test_a_model_without_parameters_is_not_called_frozen() -> None:
    data = torch.zeros(4, 2), torch.zeros(4).long()
    for model in (nn.Sequential(), nn.ReLU()):
        with pytest.raises(BadInput, match="no parameters"):
            init.critical_(model, data, nn.functional.cross_entropy)
