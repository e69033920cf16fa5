"""predict: theory from the weights beside the ledger, on a sample of the benchmark's zoo."""

import importlib.util
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import unvanish
from unvanish.errors import BadInput
from unvanish.theory.chain import Stage, expected, is_orthogonal
from unvanish.theory.propagation import propagate

BENCHMARK = Path(__file__).resolve().parents[1] / "benchmarks" / "theory_zoo.py"


@pytest.fixture(scope="module")
def zoo() -> Any:
    spec = importlib.util.spec_from_file_location("theory_zoo", BENCHMARK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_prediction_meets_the_ledger_on_a_sample_of_the_zoo(zoo: Any) -> None:
    """20 of the 300 nets of the record, none of them chosen."""
    rows = [zoo.compare(number) for number in range(100, 120)]
    apart = {row["net"]: round(row["predicted"] - row["measured"], 2) for row in rows}
    assert sum(zoo.within(row, "predicted") for row in rows) >= 18, apart
    assert sum(zoo.within(row, "wide", spreads=2) for row in rows) >= 17, apart


def plain(activation: Any, depth: int = 12, width: int = 48, norm: bool = False) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [
            nn.Linear(width, width),
            *([nn.BatchNorm1d(width)] if norm else []),
            activation(),
        ]
    return nn.Sequential(*layers, nn.Linear(width, 5)).double()


def data(width: int = 48, samples: int = 128) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(samples, width, dtype=torch.float64), torch.randint(5, (samples,))


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.Sigmoid, nn.Identity])
def test_every_layer_is_near(activation: Any, norm: bool) -> None:
    found = unvanish.predict(plain(activation, norm=norm), data(), nn.CrossEntropyLoss())
    assert len(found.layers) == 13
    assert found.layers[0].name == "0"  # counted from the input
    for layer in found.layers:
        assert layer.predicted == pytest.approx(layer.measured, abs=0.06)
    assert found.predicted == pytest.approx(sum(layer.predicted for layer in found.layers))
    assert found.measured == pytest.approx(sum(layer.measured for layer in found.layers))


def test_a_linear_net_is_predicted_exactly() -> None:
    """No activation, no assumption: only the gradient at the output is drawn, here it is given."""
    model = plain(nn.Identity, depth=4)
    inputs, _ = data()
    weights = [p.detach().numpy() for p in model.parameters() if p.ndim == 2]
    stages = [Stage(weight=w, bias=np.zeros(len(w))) for w in weights]
    direction = np.zeros((5, 5))
    direction[2, 2] = 1.0
    found = propagate(stages, np.zeros(48), np.eye(48), lambda _mean, _covariance: direction)
    leaf = inputs.requires_grad_()
    (gradient,) = torch.autograd.grad(model(leaf)[:, 2].sum(), leaf)
    assert sum(found) == pytest.approx(math.log10(float(gradient[0].norm())), abs=1e-9)


def test_module_settings_are_read() -> None:
    for leak in (0.0, 0.5, 1.0):
        found = unvanish.predict(
            plain(lambda leak=leak: nn.LeakyReLU(leak)), data(), nn.CrossEntropyLoss()
        )
        assert found.predicted == pytest.approx(found.measured, abs=0.1)


def test_functional_activations_and_wrappers_are_read() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(48, 48) for _ in range(6))
            self.head = nn.Linear(48, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for layer in self.layers:
                x = torch.tanh(layer(x))
            return self.head(x)

    torch.manual_seed(0)
    found = unvanish.predict(nn.Sequential(Net().double()), data(), nn.CrossEntropyLoss())
    assert found.predicted == pytest.approx(found.measured, abs=0.1)


def test_the_spread_grows_with_depth_over_width() -> None:
    torch.manual_seed(0)
    narrow = unvanish.predict(plain(nn.ReLU, 20, 16), data(16), nn.CrossEntropyLoss())
    broad = unvanish.predict(plain(nn.ReLU, 20, 256), data(256), nn.CrossEntropyLoss())
    assert narrow.spread == pytest.approx(4 * broad.spread, rel=0.1)
    assert broad.wide == pytest.approx(broad.measured, abs=0.3)


def test_one_shot_data_and_any_loss_are_taken() -> None:
    batches = iter([data(), data()])
    found = unvanish.predict(plain(nn.Tanh), batches, nn.CrossEntropyLoss())
    assert found.predicted == pytest.approx(found.measured, abs=0.15)

    def picky(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        assert outputs.grad_fn is not None  # refuses the outputs that theory draws
        return nn.functional.cross_entropy(outputs, targets)

    found = unvanish.predict(plain(nn.Tanh), data(), picky)
    assert found.predicted == pytest.approx(found.measured, abs=0.15)


def test_the_model_is_left_alone() -> None:
    model = plain(nn.ReLU, norm=True)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    batch = data()
    state = torch.random.get_rng_state()
    unvanish.predict(model, batch, nn.CrossEntropyLoss())
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_wide_limit_of_a_chain_is_the_mean_field_map() -> None:
    draw = np.random.default_rng(0)
    relu = unvanish.theory.nonlinearity("relu")
    stages = [
        Stage(
            weight=draw.normal(size=(600, 600)) * (2 / 600) ** 0.5,
            bias=np.zeros(600),
            activation=relu,
        )
        for _ in range(5)
    ]
    found = expected(stages, 1.0, 0.0)
    field = unvanish.theory.MeanField(activation="relu", weight=2.0)
    for layers, stage in enumerate(found):
        assert stage.decades == pytest.approx(0, abs=0.01)
        assert stage.correlation == pytest.approx(field.correlation_after(layers), abs=1e-6)
        assert stage.fluctuation.variance == pytest.approx(5 / 600)
    assert not is_orthogonal(stages[0].weight)
    assert is_orthogonal(np.linalg.qr(stages[0].weight)[0] * 3)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (
            nn.Sequential(nn.Linear(48, 48), nn.LayerNorm(48), nn.ReLU(), nn.Linear(48, 5)),
            "more than one nn.Linear",
        ),
        (nn.Sequential(nn.Linear(48, 48), nn.Softmax(-1), nn.Linear(48, 5)), "theory predicts"),
        (plain(nn.ReLU, norm=True).eval(), "eval mode"),
    ],
)
def test_what_is_no_chain_is_refused_in_a_sentence(model: nn.Module, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        unvanish.predict(model.double(), data(), nn.CrossEntropyLoss())


def test_images_of_the_wrong_size_are_refused() -> None:
    model = nn.Sequential(nn.Embedding(9, 48), nn.Flatten(), nn.Linear(96, 5))
    batch = torch.randint(9, (16, 2)), torch.randint(5, (16,))
    with pytest.raises(BadInput):
        unvanish.predict(model, batch, nn.CrossEntropyLoss())


def test_loaded_on_first_use_alone() -> None:
    assert unvanish.theory is sys.modules["unvanish.theory"]
    assert {"predict", "theory", "Prediction"} <= set(dir(unvanish))
