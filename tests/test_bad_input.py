"""Every bad argument gets one sentence that names it and says what to do; nothing is disturbed."""

import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from zoo import FLAT, Written, mlp, seeded

from unvanish import UnvanishError, observe
from unvanish.errors import BadInput, ModelFailed

INPUTS, TARGETS = FLAT


def frozen() -> nn.Module:
    return seeded(mlp, nn.Tanh()).requires_grad_(False)


def without_grad(layer: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return layer(x)


def deep() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.ReLU(), nn.Linear(5, 3)))


def net() -> nn.Module:
    return seeded(mlp, nn.Tanh())


class Focal:
    """A loss of one's own that is no module."""

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs, targets)


def with_nan() -> Tensor:
    return INPUTS.clone().index_fill_(0, torch.tensor([1]), float("nan"))


# model, data, what else, words that must be in the sentence: the argument and the next step
CASES: dict[str, tuple[Any, Any, dict[str, Any], list[str]]] = {
    "loss not scalar": (
        net,
        FLAT,
        {"loss": lambda out, target: F.cross_entropy(out, target, reduction="none")},
        ["loss(outputs, targets)", "(8,)", ".mean()"],
    ),
    "loss not a tensor": (
        net,
        FLAT,
        {"loss": lambda out, target: F.cross_entropy(out, target).item()},
        ["loss(outputs, targets)", "float", ".item()"],
    ),
    "loss is complex": (
        net,
        FLAT,
        {"loss": lambda out, target: torch.complex(out.sum(), out.sum())},
        ["loss(outputs, targets)", "complex64", "real"],
    ),
    "output object instead of its loss": (
        net,
        FLAT,
        {"forward": lambda model, batch: type("Output", (), {"loss": model(batch[0]).sum()})()},
        ["forward(model, batch)", ".loss"],
    ),
    "cut by detach": (
        lambda: Written(lambda layer, x: layer(x).detach()),
        FLAT,
        {},
        ["loss does not require grad", "detach", "Remove"],
    ),
    "cut by no_grad": (
        lambda: Written(without_grad),
        FLAT,
        {},
        ["loss does not require grad", "linear in layer", "no_grad"],
    ),
    "all frozen": (frozen, FLAT, {}, ["frozen", "requires_grad_(True)"]),
    "no parameter used": (
        lambda: Written(lambda layer, x: x[:, :3]),
        FLAT,
        {},
        ["used no parameter", "forward"],
    ),
    "no parameter at all": (nn.Identity, FLAT, {}, ["no parameter"]),
    "batch on another device": (
        net,
        (INPUTS.to("meta"), TARGETS),
        {},
        ["data", "batch 0", "meta", "cpu", ".to("],
    ),
    "empty loader": (net, [], {}, ["data", "no batch", "(inputs, targets)"]),
    "data is a number": (net, 3, {}, ["data", "int", "(inputs, targets)"]),
    "wrong shape": (deep, FLAT, {}, ["forward pass", "module 1.1", "data", "8x4 and 5x3"]),
    "wrong targets": (net, (INPUTS, TARGETS[:3]), {}, ["loss function", "batch 0", "targets"]),
    "NaN in the input": (net, (with_nan(), TARGETS), {}, ["data", "batch 0", "NaN", "nan_to_num"]),
    "infinite input": (net, (INPUTS / 0, TARGETS), {}, ["data", "batch 0", "infinite"]),
    "batch of three": (
        net,
        (INPUTS, TARGETS, TARGETS),
        {},
        ["data", "pair", "length 3", "forward="],
    ),
    "batch is a tensor": (net, INPUTS, {}, ["data", "pair", "Tensor", "forward="]),
    "model is a function": (lambda: F.relu, FLAT, {}, ["model", "torch.nn.Module", "function"]),
    "no loss": (net, FLAT, {"loss": None}, ["loss", "callable", "forward="]),
    "loss is a class of torch": (
        net,
        FLAT,
        {"loss": nn.CrossEntropyLoss},
        ["loss is the class CrossEntropyLoss: pass nn.CrossEntropyLoss()."],
    ),
    "loss is a class of one's own": (
        net,
        FLAT,
        {"loss": Focal},
        ["loss is the class Focal: pass Focal()."],
    ),
    "forward is no function": (net, FLAT, {"forward": 3}, ["forward", "callable", "int"]),
    "negative seed": (net, FLAT, {"seed": -1}, ["seed", "0 or more", "-1"]),
    "seed is no number": (net, FLAT, {"seed": "a"}, ["seed", "'a'"]),
    "no batches wanted": (net, FLAT, {"batches": 0}, ["batches", "1 or more", "0"]),
    "meta parameters": (
        lambda: nn.Linear(4, 3, device="meta"),
        FLAT,
        {},
        ["model", "weight", "meta", "materialise"],
    ),
    "lazy parameters": (
        lambda: nn.LazyLinear(3),
        FLAT,
        {},
        ["model", "weight", "run the model once"],
    ),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_bad_input_gets_one_clear_sentence(name: str) -> None:
    make, data, options, words = CASES[name]
    model = make()
    given = {"loss": F.cross_entropy, **options}
    if "forward" in options:
        given.pop("loss")
    before = snapshot(model)
    with pytest.raises(UnvanishError) as caught:
        observe(model, data, **given)
    said = str(caught.value)
    assert "\n" not in said
    assert said.endswith(".")
    for word in words:
        assert word in said
    assert snapshot(model) == before


def snapshot(model: Any) -> Any:
    if not isinstance(model, nn.Module):
        return None
    return [
        (name, p.requires_grad, p.grad, p.tolist() if p.device.type == "cpu" and plain(p) else None)
        for name, p in model.named_parameters()
    ]


def plain(parameter: Tensor) -> bool:
    return not isinstance(parameter, nn.parameter.UninitializedParameter)


def test_failures_of_the_users_code_are_chained() -> None:
    def broken(outputs: Tensor, target: Tensor) -> Tensor:
        raise KeyError("labels")

    with pytest.raises(ModelFailed, match=r"loss function.*labels") as caught:
        observe(net(), FLAT, broken)
    assert isinstance(caught.value.__cause__, KeyError)
    assert caught.value.__context__ is caught.value.__cause__


def test_failure_in_backward_is_said_to_be_there() -> None:
    class Broken(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Tensor:
            raise RuntimeError("no way back")

    model = Written(lambda layer, x: Broken.apply(layer(x)))
    with pytest.raises(
        ModelFailed, match=re.escape("backward pass of batch 0 raised: no way back")
    ):
        observe(model, FLAT, F.cross_entropy)


def test_bad_later_batch_is_named() -> None:
    batches = [FLAT, (with_nan(), TARGETS)]
    with pytest.raises(BadInput, match="batch 1"):
        observe(net(), batches, F.cross_entropy, batches=2)


def test_masks_of_minus_infinity_are_no_bad_input() -> None:
    mask = torch.zeros(3).masked_fill(torch.tensor([False, False, True]), float("-inf"))
    model = Written(lambda layer, x, mask: (layer(x) + mask)[:, :2])
    trace = observe(model, ((INPUTS, mask), TARGETS % 2), F.cross_entropy)
    assert trace.parameter("layer.weight").state == "reached"


def test_a_loss_that_can_be_called_is_no_bad_input() -> None:
    for loss in (Focal(), nn.CrossEntropyLoss(), Focal().__call__, F.cross_entropy):
        assert observe(net(), FLAT, loss).parameters
