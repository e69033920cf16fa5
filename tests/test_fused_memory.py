"""Every layout, and tensors that come, go and move between steps."""

import gc
import subprocess
import sys
import textwrap
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from test_fused import ENGINES, check, passes
from torch import Tensor

from unvanish.watching.fused import Passes
from unvanish.watching.fused.memory import flat, is_dense, stored
from unvanish.watching.fused.passes import Engine


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


LAYOUTS: dict[str, Callable[[], Tensor]] = {
    "transposed": lambda: noise(60, 90).t(),
    "channels last": lambda: noise(8, 16, 3, 3).to(memory_format=torch.channels_last),
    "permuted with ones": lambda: noise(4, 1, 6, 5).permute(3, 1, 0, 2),
    "every second column": lambda: noise(50, 80)[:, ::2],
    "offset": lambda: noise(1000)[17:],
    "expanded": lambda: torch.tensor(0.25).expand(40, 30),
    "expanded row": lambda: noise(30).expand(40, 30),
    "no dimension": lambda: torch.tensor(3.0),
    "empty": lambda: torch.zeros(0, 5),
    "imaginary part of a conjugate": lambda: torch.view_as_complex(noise(30, 2)).conj().imag,
    "parameter": lambda: torch.nn.Parameter(noise(20, 20)),
    "strange dtype": lambda: noise(200).to(torch.float8_e5m2),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_does_not_matter(engine: Engine, layout: str) -> None:
    gradient = LAYOUTS[layout]()
    check(passes([gradient], engine).gradients([gradient], histogram=True), [gradient])


@pytest.mark.filterwarnings("ignore:Sparse:UserWarning")  # torch, of its own sparse tensors
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("layout", ["coo", "csr", "csc", "bsr", "hybrid"])
def test_sparse_gradients_are_their_sums_and_zeros(engine: Engine, layout: str) -> None:
    dense = noise(30, 20) * (noise(30, 20) > 0.8)
    if layout in ("coo", "hybrid"):
        index = torch.tensor([[0, 2, 2, 5], [1, 1, 1, 0]])
        shape = (8, 4) if layout == "coo" else (8, 4, 3)
        values = noise(4) if layout == "coo" else noise(4, 3)
        gradient = torch.sparse_coo_tensor(index, values, shape)
    else:
        make = {"csr": dense.to_sparse_csr, "csc": dense.to_sparse_csc}
        gradient = dense.to_sparse_bsr((5, 4)) if layout == "bsr" else make[layout]()
    whole = gradient.to_dense()
    check(passes([whole], engine).gradients([gradient], histogram=True), [whole])


@pytest.mark.parametrize("engine", ENGINES)
def test_what_has_no_memory_is_not_read(engine: Engine) -> None:
    parameters = [torch.zeros(3, device="meta"), torch.zeros(3)]
    reader = Passes(parameters, engine=engine)
    reading = reader.gradients([torch.ones(3, device="meta"), torch.ones(3)], histogram=True)
    assert np.isnan(reading.values["gradient_l2"]).tolist() == [True, False]
    reader.before_step()
    assert np.isnan(reader.after_step()["weight_rms"]).tolist() == [True, False]


@pytest.mark.parametrize("engine", ENGINES)
def test_memory_that_was_freed_is_not_read(engine: Engine) -> None:
    """As sharded training does with whole parameters between their uses."""
    held = torch.ones(100_000)
    whole, part = held.view(100, 1000), held[50_000:]
    reader = Passes([whole, part, torch.zeros(3)], engine=engine)
    held.untyped_storage().resize_(0)
    reading = reader.gradients([whole, part, torch.zeros(3)], histogram=True)
    assert np.isnan(reading.values["gradient_l2"]).tolist() == [True, True, False]
    reader.before_step()
    held.untyped_storage().resize_(400_000)
    held.fill_(2.0)
    assert np.isnan(reader.after_step()["weight_rms"]).tolist() == [True, True, False]
    check(reader.gradients([whole, part, torch.zeros(3)], histogram=True), [whole, part])


def test_fake_tensors_are_not_read() -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        fake = torch.ones(3)
    assert stored(fake) is None


def test_a_subclass_is_read_as_the_tensor_that_it_is() -> None:
    class Named(Tensor):
        pass

    gradient = noise(40).as_subclass(Named)
    check(passes([noise(40)], "numba").gradients([gradient], histogram=True), [noise(40)])


@pytest.mark.parametrize("engine", ENGINES)
def test_a_distributed_tensor_gives_its_own_shard(engine: Engine, tmp_path: Path) -> None:
    """In a process of its own: a process group is global state."""
    code = f"""
    import torch
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor
    from unvanish.watching.fused import Passes

    dist.init_process_group("gloo", init_method="file://{tmp_path}/{engine}", rank=0, world_size=1)
    mesh = init_device_mesh("cpu", (1,))
    whole = torch.arange(12.0).reshape(4, 3)
    split = distribute_tensor(whole, mesh, [Shard(0)])
    reader = Passes([split], engine="{engine}")
    reading = reader.gradients([split], histogram=False)
    assert reading.local
    assert abs(float(reading.values["gradient_l2"][0]) - float(whole.norm())) < 1e-5
    reader.before_step()
    split.to_local().mul_(2)
    assert float(reader.after_step()["update_to_weight"][0]) == 1.0
    assert not reader.gradients([None], histogram=False).local
    dist.destroy_process_group()
    """
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("engine", ENGINES)
def test_gradients_may_come_go_and_change_between_steps(engine: Engine) -> None:
    reader = Passes([torch.zeros(30, 40), torch.zeros(7)], engine=engine)
    steps: list[list[Tensor | None]] = [
        [noise(30, 40), noise(7)],
        [noise(30, 40) * 2, None],
        [noise(30, 40).to(torch.bfloat16), noise(7).to(torch.float64)],
        [noise(40, 30).t(), noise(9)],
        [noise(30, 40).to_sparse(), noise(7)],
        [noise(30, 40), noise(7)],
    ]
    for gradients in steps:
        reading = reader.gradients(gradients, histogram=True)
        for column, gradient in enumerate(gradients):
            if gradient is None:
                assert np.isnan(reading.values["gradient_l2"][column])
            else:
                norm = float(gradient.to_dense().double().norm())
                assert float(reading.values["gradient_l2"][column]) == pytest.approx(norm, rel=3e-7)


@pytest.mark.parametrize("engine", ENGINES)
def test_no_tensor_is_kept_alive(engine: Engine) -> None:
    parameters = [torch.nn.Parameter(noise(50, 50))]
    reader = Passes(parameters, engine=engine)
    gradient = noise(50, 50)
    gone = weakref.ref(gradient)
    reading = reader.gradients([gradient], histogram=True)
    del gradient
    gc.collect()
    assert gone() is None
    assert reading.values["gradient_l2"][0] > 0


@pytest.mark.parametrize("shape", [(3, 4), (2, 1, 5), (1, 1), (4,), (2, 3, 4)])
def test_dense_is_what_fills_memory_once(shape: tuple[int, ...]) -> None:
    for dims in torch.combinations(torch.arange(len(shape)), len(shape)).tolist():
        tensor = torch.arange(int(np.prod(shape))).reshape(shape).permute(dims)
        assert is_dense(tuple(tensor.shape), tensor.stride())
        assert sorted(flat(tensor).tolist()) == list(range(tensor.numel()))
    overlapping = torch.arange(20).as_strided((4, 4), (2, 1))
    assert not is_dense(tuple(overlapping.shape), overlapping.stride())
