"""Compiled tanh and sigmoid with transforms: the derivative from the output is the derivative."""

import pytest
import torch
from torch import nn

import unvanish.nn as own


@pytest.mark.filterwarnings("ignore:.*should not be instantiated")  # by torch itself
@pytest.mark.parametrize("activation", [nn.Tanh, nn.Sigmoid])
@pytest.mark.parametrize("kind", [own.TailoredActivation, own.ShapedActivation])
def test_compiled_gradient_is_that_of_the_formula(
    activation: type[nn.Module], kind: type[nn.Module]
) -> None:
    module = kind(activation(), 40)
    there = module.transform
    x = torch.linspace(-6, 6, 101, dtype=torch.float64, requires_grad=True)
    pull = torch.linspace(1, 2, 101, dtype=torch.float64)
    torch.compiler.reset()
    made = torch.compile(module, backend="aot_eager", fullgraph=True)(x)
    wanted = there.gain * (activation()(there.scale * x + there.shift) + there.offset)
    assert torch.allclose(made, wanted, rtol=1e-12, atol=1e-12)
    (found,) = torch.autograd.grad(made, x, pull)
    (true,) = torch.autograd.grad(wanted, x, pull)
    assert torch.allclose(found, true, rtol=1e-9, atol=1e-9)
