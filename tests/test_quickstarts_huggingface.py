"""The quick starts of Hugging Face's libraries, unmodified: see ``test_quickstarts``."""

import os
from collections.abc import Iterator

import pytest
from quickstart_checks import assert_named, assert_undisturbed, bare_runs
from quickstart_faults import NAMES
from quickstart_runs import Run, Runs

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
