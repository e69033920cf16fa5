"""Many small trainings of several processes in one go: argv = folder, then the kinds to run.

Each is a function of the process group that is there; the single-process figures beside it come
from :func:`alone`, which the tests call themselves.
"""

import contextlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from distributed_end import leave
from torch import nn

import unvanish

STEPS, BATCH = 12, 8
Step = Callable[[nn.Module, int, slice], None]


class Net(nn.Module):
    """Two layers, a norm between them, a head that may stay unused."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.up = nn.Linear(6, 12)
        self.norm = nn.LayerNorm(12)
        self.down = nn.Linear(12, 4)
        self.spare = nn.Linear(6, 4)
        self.killed = nn.Linear(6, 4)
        self.mode = ""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs = self.down(torch.tanh(self.norm(self.up(inputs))))
        return outputs + 0.0 * self.killed(inputs) if self.mode == "unused" else outputs


class Dense(nn.Module):
    """A block for tensor parallelism: column-wise, then row-wise."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.up = nn.Linear(6, 12)
        self.down = nn.Linear(12, 4)
        self.out = nn.Linear(4, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.out(torch.tanh(self.down(torch.tanh(self.up(inputs)))))


def batches() -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        (
            torch.randn(BATCH, 6, generator=generator),
            torch.randint(3, (BATCH,), generator=generator),
        )
        for _ in range(STEPS)
    ]


def loss_of(model: nn.Module, number: int, part: slice) -> torch.Tensor:
    inputs, targets = batches()[number]
    return nn.functional.cross_entropy(model(inputs[part]), targets[part])


def one_pass(model: nn.Module, number: int, part: slice) -> None:
    loss_of(model, number, part).backward()


def in_two(model: nn.Module, number: int, part: slice) -> None:
    """Two micro-batches; the processes talk at the second one only."""
    middle = (part.start + part.stop) // 2
    quiet = model.no_sync() if hasattr(model, "no_sync") else contextlib.nullcontext()
    with quiet:
        (loss_of(model, number, slice(part.start, middle)) / 2).backward()
    (loss_of(model, number, slice(middle, part.stop)) / 2).backward()


def train(
    model: nn.Module, folder: Path, part: slice, step: Step = one_pass, **options: Any
) -> Any:
    optimizer = torch.optim.SGD(
        [parameter for parameter in model.parameters() if parameter.requires_grad], lr=0.1
    )
    options = {"budget": None, **options}
    with unvanish.watch(model, optimizer, folder, strict=True, **options) as monitor:
        for number in range(STEPS):
            optimizer.zero_grad()
            step(model, number, part)
            optimizer.step()
    return monitor


def alone(model: nn.Module, folder: Path, step: Step = one_pass) -> unvanish.Recording:
    """The same training in this one process."""
    train(model, folder, slice(0, BATCH), step)
    return unvanish.Recording.open(folder)


def part_of(rank: int, world: int) -> slice:
    return slice(rank * BATCH // world, (rank + 1) * BATCH // world)


def own_part() -> slice:
    return part_of(dist.get_rank(), dist.get_world_size())


def accumulated(folder: Path) -> None:
    train(nn.parallel.DistributedDataParallel(Dense()), folder, own_part(), in_two)


def unused(folder: Path) -> None:
    net = Net()
    net.mode = "unused"
    model = nn.parallel.DistributedDataParallel(net, find_unused_parameters=True)
    train(model, folder, own_part())


def tensor_parallel(folder: Path) -> None:
    from torch.distributed.tensor import parallel

    mesh = dist.device_mesh.init_device_mesh("cpu", (dist.get_world_size(),))
    plan = {"up": parallel.ColwiseParallel(), "down": parallel.RowwiseParallel()}
    train(parallel.parallelize_module(Dense(), mesh, plan), folder, slice(0, BATCH))


def tensor_parallel_loss(folder: Path) -> None:
    """The loss is a distributed tensor: its number may not be asked for."""
    from torch.distributed.tensor import Replicate, Shard, parallel

    mesh = dist.device_mesh.init_device_mesh("cpu", (dist.get_world_size(),))
    plan = {
        "up": parallel.ColwiseParallel(),
        "down": parallel.RowwiseParallel(),
        "out": parallel.ColwiseParallel(
            input_layouts=Replicate(), output_layouts=Shard(-1), use_local_output=False
        ),
    }
    net = Dense()
    net.out = nn.Linear(4, 4)

    def step(model: nn.Module, number: int, part: slice) -> None:
        with parallel.loss_parallel():
            loss_of(model, number, part).backward()

    train(parallel.parallelize_module(net, mesh, plan), folder, slice(0, BATCH), step)


def sequence_parallel(folder: Path) -> None:
    """The norm's weights are whole everywhere, their gradients are summands until the step."""
    from torch.distributed.tensor import Replicate, Shard, parallel

    mesh = dist.device_mesh.init_device_mesh("cpu", (dist.get_world_size(),))
    plan = {
        "up": parallel.ColwiseParallel(),
        "norm": parallel.SequenceParallel(sequence_dim=0),
        "down": parallel.RowwiseParallel(output_layouts=Replicate()),
    }
    plan["up"] = parallel.ColwiseParallel(output_layouts=Shard(0))
    plan["down"] = parallel.ColwiseParallel(input_layouts=Shard(0), output_layouts=Replicate())
    net = Net()
    del net.spare, net.killed
    train(parallel.parallelize_module(net, mesh, plan), folder, slice(0, BATCH))


def hybrid(folder: Path) -> None:
    """Sharded in twos, replicated twice: four processes."""
    from torch.distributed.fsdp import fully_shard

    mesh = dist.device_mesh.init_device_mesh("cpu", (2, 2), mesh_dim_names=("replicate", "shard"))
    model = Dense()
    for layer in (model.up, model.down, model.out):
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    train(model, folder, own_part())


def both(folder: Path) -> None:
    """Fully sharded over tensor parallel, two by two: shards of shards."""
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import parallel

    mesh = dist.device_mesh.init_device_mesh("cpu", (2, 2), mesh_dim_names=("data", "tensor"))
    plan = {"up": parallel.ColwiseParallel(), "down": parallel.RowwiseParallel()}
    model = parallel.parallelize_module(Dense(), mesh["tensor"], plan)
    fully_shard(model, mesh=mesh["data"])
    train(model, folder, part_of(mesh.get_local_rank("data"), 2))


def nan_shard(folder: Path) -> None:
    """From step 8 on one entry of the gradient is NaN, in what the last process holds."""
    from torch.distributed.fsdp import fully_shard

    model = Dense()
    fully_shard(model)

    def step(model: nn.Module, number: int, part: slice) -> None:
        one_pass(model, number, part)
        if number == 8 and dist.get_rank() == dist.get_world_size() - 1:
            gradient: Any = next(model.parameters()).grad
            gradient.to_local()[-1, 0] = float("nan")

    train(model, folder, own_part(), step)


def chosen(folder: Path) -> None:
    """Replicas of which only the first records; the other meets a bad number before all do."""

    def step(model: nn.Module, number: int, part: slice) -> None:
        one_pass(model, number, part)
        if number == 8 and dist.get_rank() == 1:
            gradient = next(model.parameters()).grad
            assert gradient is not None
            gradient[0, 0] = float("nan")

    model = nn.parallel.DistributedDataParallel(Dense())
    train(model, folder, own_part(), step, ranks=[0])


def diagnosed(folder: Path) -> None:
    """One process alone diagnoses between two steps; the training goes on as if it had not."""
    from torch.distributed.fsdp import fully_shard

    said: dict[str, Any] = {}
    ends: list[list[torch.Tensor]] = []
    for asked in (False, True):
        model = nn.parallel.DistributedDataParallel(Dense(), gradient_as_bucket_view=True)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for number in range(4):
            optimizer.zero_grad()
            one_pass(model, number, own_part())
            optimizer.step()
            if asked and number == 1 and dist.get_rank() == 0:
                found = unvanish.diagnose(model, batches()[0], nn.functional.cross_entropy)
                said["ddp"] = [finding.name for finding in found.findings]
                said["ops"] = len(found.trace.ops)
        ends.append([parameter.detach().clone() for parameter in model.parameters()])
    said["same"] = all(map(torch.equal, *ends))
    model = Dense()
    fully_shard(model)
    if dist.get_rank() == 0:  # alone: if it ran the model, it would wait for the others for ever
        try:
            found = unvanish.diagnose(model, batches()[0], nn.functional.cross_entropy)
            said["fsdp"] = [finding.name for finding in found.findings]
        except unvanish.UnvanishError as error:
            said["fsdp"] = str(error)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "said.json").write_text(json.dumps(said))


def one_after_another(kinds: list[str], run: Callable[[str], None]) -> None:
    """Run every kind in one process group; all wait for each other in between."""
    dist.init_process_group("gloo")
    for kind in kinds:
        run(kind)
        dist.barrier()
    dist.destroy_process_group()


def with_or_without(train: Callable[[str, Path, bool], None]) -> None:
    """What the command asks for: ``train(kind, folder, watched)``, unwatched behind ``plain``."""
    folder, kinds = Path(sys.argv[1]), sys.argv[2:]
    watched = kinds[0] != "plain"
    one_after_another(
        kinds if watched else kinds[1:], lambda kind: train(kind, folder / kind, watched)
    )


def main() -> None:
    folder, kinds = Path(sys.argv[1]), sys.argv[2:]
    one_after_another(kinds, lambda kind: globals()[kind](folder / kind))


if __name__ == "__main__":
    main()
    leave()
