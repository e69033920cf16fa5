"""The engine of accelerators, on CPU tensors: nothing waits inside a step, and nothing is lost."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_fused import check
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from unvanish.watching.fused import Passes
from unvanish.watching.fused.ring import Ring

# What makes the host wait for a device: to know a number, or a size that depends on numbers.
WAITS = {
    "_local_scalar_dense",
    "item",
    "nonzero",
    "masked_select",
    "unique",
    "_unique2",
    "unique_dim",
    "bincount",
    "equal",
    "is_nonzero",
    "repeat_interleave",
    "allclose",
}


class Watched(TorchDispatchMode):
    """Writes down every operation; fails on those that wait for a device."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        self.names.append(name)
        assert name not in WAITS, f"{name} waits for the device"
        if name in ("index", "index_put", "index_put_"):
            masks = [i for i in args[1] if i is not None and i.dtype in (torch.bool, torch.uint8)]
            assert not masks, "an index by a mask waits for its count"
        return func(*args, **(kwargs or {}))


def gradients() -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    kinds = (torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.complex64)
    tensors = [torch.randn(70, 90, generator=generator).to(kind) for kind in kinds]
    tensors[0][0, :4] = torch.tensor([float("nan"), float("inf"), 0.0, -0.0])
    return [*tensors, torch.randn(60, 50, generator=generator).t(), torch.zeros(0)]


def test_nothing_waits_inside_a_step() -> None:
    tensors = gradients()
    weights = [torch.ones_like(tensor) for tensor in tensors]
    reader = Passes(weights, engine="device")
    reader.gradients(tensors, histogram=True, scale=3.0).fetch()
    reader.before_step()
    reader.after_step()["weight_rms"]
    with Watched() as seen:
        for _ in range(3):
            reading = reader.gradients(tensors, histogram=True, scale=3.0)
            reader.before_step()
            update = reader.after_step()
            assert not reading.ready()
            assert not update.ready()
    assert "linalg_vector_norm" in seen.names  # the mode did see what was done
    assert "lift_fresh" not in seen.names  # numbers of Python's made a tensor: sent, and waited for
    check(reading, tensors, 3.0)


def test_a_wait_would_be_noticed() -> None:
    with Watched() as seen:
        with pytest.raises(AssertionError, match="waits for the device"):
            torch.ones(3).sum().item()
        torch.tensor([1, 2])
    assert "lift_fresh" in seen.names


def test_readings_come_when_the_block_is_full_or_when_asked() -> None:
    parameters = [torch.zeros(500)]
    reader = Passes(parameters, engine="device")
    given = [torch.full((500,), float(step + 1)) for step in range(40)]
    readings = [reader.gradients([gradient], histogram=False) for gradient in given]
    assert [reading.ready() for reading in readings] == [True] * 32 + [False] * 8
    reader.send()
    assert all(reading.ready() for reading in readings)
    peaks = [float(reading.values["gradient_abs_max"][0]) for reading in readings]
    assert peaks == [float(step + 1) for step in range(40)]


def test_asking_for_one_reading_brings_it() -> None:
    reader = Passes([torch.zeros(4)], engine="device")
    reading = reader.gradients([torch.ones(4)], histogram=True)
    assert not reading.ready()
    assert reading.values["gradient_l2"][0] == 2
    assert reading.ready()
    later = reader.gradients([torch.ones(4) * 3], histogram=True)
    assert later.values["gradient_l2"][0] == 6
    assert reading.values["gradient_l2"][0] == 2


def test_numbers_are_those_of_the_step_although_memory_is_used_again() -> None:
    gradient, weight = torch.ones(3000), torch.ones(3000)
    reader = Passes([weight], engine="device")
    reading = reader.gradients([gradient], histogram=True)
    reader.before_step()
    weight.mul_(1.25)
    update = reader.after_step()
    gradient.fill_(9)
    weight.fill_(9)
    assert reading.values["gradient_abs_max"][0] == 1
    assert update["update_to_weight"][0] == pytest.approx(0.25)
    assert dict(update).keys() == {"weight_rms", "update_to_weight"}


def test_a_ring_keeps_steps_of_different_length_apart() -> None:
    ring = Ring(6, torch.device("cpu"), torch.float64, steps=2)
    short = ring.put([torch.tensor([1.0, 2.0])])
    long = ring.put([torch.arange(4.0), torch.tensor([7.0, 8.0])])
    assert short.ready()
    assert short.fetch().tolist() == [1, 2]
    assert long.fetch().tolist() == [0, 1, 2, 3, 7, 8]


@pytest.mark.gpu
def test_an_accelerator_gives_the_numbers_of_the_cpu() -> None:
    if not torch.accelerator.is_available():
        pytest.skip("no accelerator here")
    device = torch.accelerator.current_accelerator()
    tensors = gradients()
    there = [tensor.to(device) for tensor in tensors]
    weights = [torch.ones_like(tensor) for tensor in there]
    reader = Passes(weights)
    torch.cuda.set_sync_debug_mode("error")
    try:
        reading = reader.gradients(there, histogram=True, scale=3.0)
        reader.before_step()
        update = reader.after_step()
        reader.send()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    check(reading, tensors, 3.0)
    assert np.nanmax(update["update_to_weight"]) == 0


def test_where_no_machine_code_can_be_kept_it_is_made_anew(tmp_path: Path) -> None:
    """As with an installation in a read-only folder and no home: slower to start, nothing said."""
    code = (
        "import numba.core.caching as caching\n"
        "caching.CacheImpl._locator_classes = []\n"
        "import torch\n"
        "from unvanish.watching.fused.change_kernels import change_single\n"
        "from unvanish.watching.fused.kernels import read_single\n"
        "import numpy as np\n"
        "assert read_single._cache.__class__.__name__ == 'NullCache'\n"
        "one = np.ones(5, np.float32)\n"
        "sums = np.zeros((1, 5))\n"
        "read_single(np.array([one.ctypes.data], np.uint64), np.array([5]), np.zeros(1, np.uint8),"
        " sums, np.zeros((0, 64), np.uint32), np.int32(1 << 29))\n"
        "assert sums[0, 1] == 5\n"
    )
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path
    )
    assert (ran.returncode, ran.stderr) == (0, "")


def test_without_numba_torch_reads(tmp_path: Path) -> None:
    """In a process where numba cannot be found."""
    code = (
        "import importlib.util\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *a: None if name == 'numba' else find(name, *a)\n"
        "import sys, torch\n"
        "from unvanish.watching.fused import Passes\n"
        "reader = Passes([torch.zeros(3)])\n"
        "assert reader.engine == 'torch'\n"
        "assert reader.gradients([torch.ones(3)], histogram=True).values['gradient_mean'][0] == 1\n"
        "assert 'numba' not in sys.modules\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_a_numba_that_does_not_work_is_done_without(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(dtypes: set[torch.dtype]) -> None:
        raise ImportError("Numba needs NumPy 1.26 or less")

    monkeypatch.setattr("unvanish.watching.fused.passes.Compiled", fails)
    with caplog.at_level("INFO", logger="unvanish"):
        reader = Passes([torch.zeros(3)])
    assert reader.engine == "torch"
    assert "NumPy 1.26" in caplog.text
    assert reader.gradients([torch.ones(3)], histogram=False).values["gradient_mean"][0] == 1
