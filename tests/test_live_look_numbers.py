"""The numbers of a look against those that torch gives for the same backward pass."""

import math

import pytest
import torch
import torch.nn.functional as F
from live_trainings import Checkpointed, Convolutions, Own, Recurrent, Tied, mlp, tokens, told
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import unvanish
from unvanish.probe.live import LiveLook
from unvanish.trace import Trace


def looked(
    model: nn.Module, inputs: Tensor, scale: float | None = None, locating: bool = False
) -> Trace:
    """One step under a look; with a loss scale, the product is what backward is called on."""
    look = LiveLook(model, locating=locating)
    look.begin()
    outputs = model(inputs)
    loss = F.cross_entropy(outputs.flatten(0, -2), torch.zeros(outputs[..., 0].numel()).long())
    root = loss if scale is None else loss * torch.tensor(scale)
    look.before_backward(root, scale)
    root.backward()
    look.after_backward()
    trace = look.finish()
    assert trace is not None, look.reason
    assert trace.conditions.loss == pytest.approx(float(loss.detach()), rel=1e-6, nan_ok=True)
    return trace


MODELS = {
    "mlp": (mlp, lambda: torch.randn(8, 16)),
    "cnn": (Convolutions, lambda: torch.randn(8, 16)),
    "gpt": (Tied, tokens),
    "custom": (Own, lambda: torch.randn(8, 16)),
    "lstm": (lambda: Recurrent(nn.LSTM), lambda: torch.randn(8, 16)),
    "checkpoint": (lambda: Checkpointed(False), lambda: torch.randn(8, 16)),
    "reentrant": (lambda: Checkpointed(True), lambda: torch.randn(8, 16)),
}


@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")
@pytest.mark.parametrize("left", [None, 100.0])
@pytest.mark.parametrize("scale", [None, 4096.0])
@pytest.mark.parametrize("name", MODELS)
def test_gradients_are_those_of_this_pass_and_unscaled(
    name: str, scale: float | None, left: float | None
) -> None:
    """``left``: what an earlier pass left in ``.grad``."""
    make, inputs = MODELS[name]
    torch.manual_seed(0)
    model = make()
    if left is not None:
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, left)
    trace = looked(model, inputs(), scale)
    for name_of, parameter in model.named_parameters():
        assert parameter.grad is not None
        own = (parameter.grad.double() - (left or 0.0)) / (scale or 1.0)
        seen = trace.parameter(name_of)
        # What was left is 1e2 and float32 keeps 7 digits of the sum.
        loose = {} if left is None else {"abs": 1e-4 * math.sqrt(parameter.numel())}
        assert seen.gradient_norm == pytest.approx(float(own.norm()), rel=1e-5, **loose)
        assert seen.gradient_max == pytest.approx(float(own.abs().max()), rel=1e-5, **loose)
    assert ("loss scale of 4096" in str(trace.conditions.notes)) == (scale is not None)


@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")
@pytest.mark.parametrize("name", MODELS)
def test_ledger_is_that_of_an_observation(name: str) -> None:
    """Every op that an observation sees and the program itself runs, with the same gradient."""
    make, inputs = MODELS[name]
    torch.manual_seed(0)
    model, batch = make(), inputs()

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs.flatten(0, -2), targets)

    targets = torch.zeros(model(batch)[..., 0].numel()).long()
    observed = unvanish.observe(model, (batch, targets), loss, seed=3)
    torch.manual_seed(3)  # dropout draws the numbers that it drew in the observation
    trace = looked(model, batch)
    mine, theirs = [
        sorted((op.kind, op.module, op.call, op.norm) for op in t.ops if op.in_program)
        for t in (trace, observed)
    ]
    assert [m[:3] for m in mine] == [t[:3] for t in theirs]
    assert [m[3] for m in mine] == pytest.approx([t[3] for t in theirs], rel=1e-4)
    assert [(a.module, a.function) for a in trace.activations] == [
        (a.module, a.function) for a in observed.activations
    ]
    assert trace.profiles == () or [p.norms for p in trace.profiles if p.source == "input"] == [
        pytest.approx(p.norms, rel=1e-4) for p in observed.profiles if p.source == "input"
    ]


def test_parameter_in_two_checkpoints_is_whole_although_something_was_left() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(6, 6)

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.head = layer, nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = checkpoint(self.layer, x.requires_grad_(), use_reentrant=True)
            return self.head(checkpoint(self.layer, x, use_reentrant=True))

    model = Twice()
    layer.weight.grad = torch.ones(6, 6)
    trace = looked(model, torch.randn(8, 6))
    own = layer.weight.grad - 1
    assert trace.parameter("layer.weight").gradient_norm == pytest.approx(
        float(own.norm()), rel=1e-4
    )


def test_first_op_that_makes_nan_backward_is_named_and_located() -> None:
    class Root(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Linear(4, 4, bias=False), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.body(x)
            return self.head(x * x.square().sum(-1, keepdim=True).sqrt())

    inputs = torch.randn(8, 4)
    inputs[2] = 0
    for locating in (False, True):
        trace = looked(Root(), inputs, locating=locating)
        (bad,) = trace.nonfinite
        assert (bad.phase, bad.operation, bad.parameters) == ("backward", "Sqrt", ("body.weight",))
        assert (bad.input_min is not None) == locating
        assert unvanish.diagnose(trace).findings[0].name == "nonfinite-backward"


@pytest.mark.parametrize("where", ["batch", "weight"])
def test_nan_that_came_in_is_said_to_have_come_in(where: str) -> None:
    torch.manual_seed(0)
    model, inputs = mlp(), torch.randn(8, 16)
    with torch.no_grad():
        (inputs if where == "batch" else model[2].weight)[1, 1] = math.nan
    trace = looked(model, inputs)
    bad = trace.nonfinite[0]
    assert (bad.phase, bad.operation) == ("forward", "linear")
    assert bad.module == ("0" if where == "batch" else "2")
    said = "a tensor of shape (8, 16) from outside" if where == "batch" else "parameter 2.weight"
    assert f"NaN or Inf came in with {said}" in trace.conditions.notes
    assert unvanish.diagnose(trace).findings[0].name == "nonfinite-forward"


def test_accumulation_is_looked_at_in_its_first_part_only() -> None:
    model = mlp()
    look = LiveLook(model)
    norms: list[float] = []
    with told(look):
        look.begin()
        for _ in range(3):
            F.cross_entropy(model(torch.randn(8, 16)), torch.zeros(8).long()).backward()
            assert model[0].weight.grad is not None
            norms.append(float(model[0].weight.grad.norm()))
        trace = look.finish()
    assert trace is not None
    assert trace.parameter("0.weight").gradient_norm == pytest.approx(norms[0], rel=1e-5)
    assert {op.call for op in trace.ops} == {0}


def test_conditions_say_what_was_seen() -> None:
    trace = looked(mlp(), torch.randn(8, 16))
    assert trace.conditions.seed is None
    assert trace.conditions.batch_size == 8
    assert not trace.conditions.inputs_differentiated
    assert Trace.from_json(trace.to_json()) == trace
    assert "seed" not in str(unvanish.diagnose(trace))
