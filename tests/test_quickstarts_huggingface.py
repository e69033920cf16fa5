"""The quick starts of Hugging Face's libraries, unmodified: see ``test_quickstarts``."""

import os
from collections.abc import Iterator

import pytest
import torch
from quickstart_checks import assert_named, assert_undisturbed, bare_runs
from quickstart_faults import NAMES
from quickstart_runs import Run, Runs

from unvanish.watching.owner import owner_of

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="runs are forks of one process")

STEPS = {"accelerate_loop": 45, "transformers_trainer": 12, "peft_lora": 12, "trl_sft": 30}
# Their rates times a thousand are 0.02 and 0.03, at which nets this small learn faster: no fault. Of an
# adapter on frozen embeddings the first block is what a reentrant checkpoint freezes.
FAULTS = [
    *((name, fault) for name in STEPS if name != "peft_lora" for fault in NAMES if fault != "rate"),
    ("peft_lora", "nan"),
    ("peft_lora", "checkpoint"),
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Runs, dict[str, Run]]]:
    yield from bare_runs(tmp_path_factory.mktemp("quickstarts"), STEPS)


@pytest.mark.parametrize("name", STEPS)
def test_a_quick_start_is_not_disturbed(name: str, runs: tuple[Runs, dict[str, Run]]) -> None:
    assert_undisturbed(name, runs, STEPS[name])


@pytest.mark.parametrize(("name", "fault"), FAULTS)
def test_a_fault_is_named(name: str, fault: str, runs: tuple[Runs, dict[str, Run]]) -> None:
    assert_named(name, runs, fault)


def test_what_is_frozen_around_an_adapter_belongs_to_the_model_that_is_watched() -> None:
    base, adapter, head = (torch.nn.Linear(3, 3) for _ in range(3))
    base.requires_grad_(False)
    optimizer = torch.optim.SGD(adapter.parameters(), lr=0.1)
    model = torch.nn.Sequential(base, torch.nn.Sequential(adapter))
    assert owner_of(optimizer) is model
    together = torch.nn.ModuleList([model, head])  # what trains by itself is another model
    assert owner_of(optimizer) is model
    assert len(together) == 2
