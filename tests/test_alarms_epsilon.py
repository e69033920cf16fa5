"""An epsilon that swallows the gradient, over the readings of real trainings with Adam."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from unvanish.alarms import Alarms
from unvanish.recording import StepReading, TensorEntry


def named(epsilon: float, rate: float, known: bool = True) -> set[str]:
    """What is raised in a hundred steps; whether the alarms are told what epsilon is."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
    model.append(nn.Linear(64, 5))
    truth = torch.randn(20, 5)
    optimizer = torch.optim.Adam(model.parameters(), rate, eps=epsilon)
    parameters = dict(model.named_parameters())
    entries = [
        TensorEntry(name=n, shape=(*p.shape,), dtype="float32") for n, p in parameters.items()
    ]
    told = {"epsilon": epsilon} if known else {}
    alarms, raised = Alarms(entries, optimizer="Adam", **told), set[str]()
    for step in range(100):
        inputs = torch.randn(64, 20)
        loss = F.cross_entropy(model(inputs), (inputs @ truth).argmax(1))
        optimizer.zero_grad()
        loss.backward()
        before = [p.detach().clone() for p in parameters.values()]
        optimizer.step()
        after = [p.detach() for p in parameters.values()]
        values = {
            "gradient_l2": [
                float(p.grad.norm()) for p in parameters.values() if p.grad is not None
            ],
            "weight_rms": [float(p.square().mean().sqrt()) for p in after],
            "update_to_weight": [
                float((new - old).norm() / old.norm())
                for new, old in zip(after, before, strict=True)
            ],
        }
        reading = StepReading(
            step=step,
            seconds=step / 10,
            stage="unscaled unclipped whole",
            values={name: np.array(row, dtype=np.float32) for name, row in values.items()},
            scalars={"loss": float(loss.detach()), "learning_rate": rate},
        )
        raised |= {event.name for event in alarms.feed(reading) if event.kind == "alarm"}
    return raised


def test_a_huge_epsilon_is_named_where_it_is_known() -> None:
    assert named(10.0, 1e-3) == {"epsilon-dominated"}
    assert "epsilon-dominated" not in named(10.0, 1e-3, known=False)


@pytest.mark.parametrize(
    ("epsilon", "rate"),
    [
        (10.0, 30.0),  # gradient descent in disguise, at a rate that goes with it
        (1.0, 1.0),
        (0.1, 1e-2),
        (1e-3, 1e-3),
        (1e-8, 1e-3),
        (1e-8, 1e-6),  # it is the rate that is small: entries move by all of it
    ],
)
def test_an_epsilon_that_lets_weights_move_is_not(epsilon: float, rate: float) -> None:
    assert "epsilon-dominated" not in named(epsilon, rate)
