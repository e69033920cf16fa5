"""Whatever goes wrong while a look is taken, the training goes on and nothing stays behind."""

import contextlib
import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from itertools import pairwise
from statistics import median
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from live_trainings import TRAININGS, Own, Square, mlp, run, switches, told
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from unvanish.probe.activations import ActivationReader
from unvanish.probe.backward import NodeWatch
from unvanish.probe.compiled import unwrapped
from unvanish.probe.forward import ForwardRecorder
from unvanish.probe.live import LiveLook
from unvanish.probe.sight import Sight
from unvanish.probe.spans import ModuleSpans


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    before = switches()
    yield
    assert switches() == before


def step(model: nn.Module, inputs: Tensor | None = None) -> Tensor:
    model.zero_grad()
    inputs = torch.randn(8, 16) if inputs is None else inputs
    loss = F.cross_entropy(model(inputs), torch.randint(3, (8,)))
    loss.backward()
    return loss


def test_forward_that_raises_ends_the_look() -> None:
    model = mlp()
    look = LiveLook(model)
    with told(look):
        look.begin()
        with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
            model(torch.randn(8, 5))
        assert look.reason == "the forward pass raised RuntimeError"
        step(model)
    assert look.finish() is None


def test_forward_that_catches_its_own_error_is_seen() -> None:
    class Careful(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = mlp()

        def forward(self, x: Tensor) -> Tensor:
            try:
                return self.body(x)
            except RuntimeError:
                return self.body(F.pad(x, (0, 11)))

    model = Careful()
    look = LiveLook(model)
    with told(look):
        look.begin()
        step(model, torch.randn(8, 5))
    trace = look.finish()
    assert trace is not None
    assert {p.state for p in trace.parameters} == {"reached"}


def test_step_inside_of_an_except_block_is_no_failure() -> None:
    model = mlp()
    look = LiveLook(model)
    with told(look):
        look.begin()
        try:
            raise ValueError("the batch did not fit")
        except ValueError:
            step(model)
    assert look.finish() is not None


def test_loss_that_raises_leaves_the_next_step_to_be_seen() -> None:
    model = mlp()
    look = LiveLook(model)
    with told(look):
        look.begin()
        with contextlib.suppress(ValueError):
            F.cross_entropy(model(torch.randn(8, 16)), torch.randint(3, (4,)))
        step(model)
    trace = look.finish()
    assert trace is not None
    assert {op.call for op in trace.ops if op.module == "0"} == {0}


class Failing(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        raise OSError("no such luck")


def test_backward_that_raises_ends_the_look() -> None:
    model = mlp()
    look = LiveLook(model)
    with told(look):
        look.begin()
        with pytest.raises(OSError, match="no such luck"):
            Failing.apply(model(torch.randn(8, 16))).sum().backward()
        assert look.reason == "the backward pass raised OSError"
        step(model)
    assert look.finish() is None


def test_forward_that_never_reaches_a_backward_keeps_no_graph() -> None:
    model = mlp()
    look = LiveLook(model)
    gc.disable()
    try:
        with told(look):
            look.begin()
            hidden = model[0](torch.randn(8, 16))
            seen = weakref.ref(hidden.grad_fn.next_functions[0][0].variable)  # the bias: stays
            outputs = model[1:](hidden)
            values = weakref.ref(outputs)
            del hidden, outputs
            assert values() is None
            assert seen() is not None
            assert look.finish() is None
    finally:
        gc.enable()
    assert look.reason == "no backward pass reached the forward pass that was seen"


def test_validation_is_not_what_is_looked_at() -> None:
    model = mlp()
    look = LiveLook(model)
    look.begin()
    with torch.no_grad():
        model(torch.randn(8, 16))
    with torch.inference_mode():
        model(torch.randn(8, 16))
    assert look.finish() is None
    assert look.reason == "the model was not called with gradients on"


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (ActivationReader, "look"),
        (ActivationReader, "read"),
        (ForwardRecorder, "before"),
        (ForwardRecorder, "_measure"),
        (NodeWatch, "watch"),
        (NodeWatch, "record"),
        (ModuleSpans, "locate"),
        (Sight, "unscale"),
    ],
)
def test_own_failure_ends_the_look_and_not_the_training(
    owner: type, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, _ = run(TRAININGS["mlp"], looked_at=False)

    def fail(*arguments: Any, **options: Any) -> Any:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(owner, name, fail)
    watched, looks = run(TRAININGS["mlp"], looked_at=True)
    assert all(map(torch.equal, plain.everything(), watched.everything()))
    reason = "the look itself failed: out of memory (RuntimeError)"
    assert [look.reason for look in looks] == [reason] * 4
    assert not any(look.complete for look in looks)


def test_own_failure_at_a_recurrent_input_is_none_of_the_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*arguments: Any) -> Any:
        raise MemoryError("too long")

    monkeypatch.setattr("unvanish.probe.sequences.norms_along", fail)
    _, looks = run(TRAININGS["lstm"], looked_at=True)
    assert {look.reason for look in looks} == {"the look itself failed: too long (MemoryError)"}


MOMENTS: dict[str, Callable[[LiveLook, nn.Module], Any]] = {
    "before it begins": lambda look, model: None,
    "armed": lambda look, model: look.begin(),
    "after the forward": lambda look, model: (look.begin(), model(torch.randn(8, 16))),
    "after the step": lambda look, model: (look.begin(), step(model)),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_abandoned_at_any_moment(moment: str) -> None:
    model = mlp()
    look = LiveLook(model)
    with told(look):
        MOMENTS[moment](look, model)
        look.abandon()
        step(model)
        look.abandon()
    assert look.finish() is None


@pytest.mark.filterwarnings("ignore:Using backward.. with create_graph")
@pytest.mark.parametrize("create_graph", [False, True])
def test_nothing_of_the_step_stays_alive_even_without_the_collector(create_graph: bool) -> None:
    model = Own()
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            look = LiveLook(model)
            with told(look):
                look.begin()
                outputs = model(torch.randn(8, 16))
                square = outputs.grad_fn.next_functions[1][0]  # saved its input
                kept = weakref.ref(square.saved_tensors[0])
                assert isinstance(square, Square._backward_cls)  # type: ignore[attr-defined]
                loss = outputs.square().mean()
                loss.backward(create_graph=create_graph)
                trace = look.finish()
            if create_graph:
                for parameter in model.parameters():
                    parameter.grad = None
            values = weakref.ref(outputs)
            del square, outputs, loss
            assert trace is not None
            assert values() is None
            assert kept() is None
    finally:
        gc.enable()


def test_memory_stays_flat_over_many_looks() -> None:
    model = mlp()
    counts: list[int] = []
    for _ in range(30):
        look = LiveLook(model)
        with told(look):
            look.begin()
            step(model)
            assert look.finish() is not None
        del look
        gc.collect()
        counts.append(len(gc.get_objects()))
    # What a look leaves behind is left by each; what is imported late comes once.
    assert median(after - before for before, after in pairwise(counts[14:])) < 1, counts


def test_another_thread_is_not_taken_for_the_training() -> None:
    model, other = mlp(), mlp()
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            other(torch.randn(4, 16)).sum().backward()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(20):
            look = LiveLook(model)
            with told(look):
                look.begin()
                step(model)
            trace = look.finish()
            assert trace is not None, look.reason
            functions = [operation.function for operation in trace.operations]
            assert functions[-2:] == ["randint", "cross_entropy"]
            assert len(functions) == 7
            assert {op.call for op in trace.ops} == {0}
    finally:
        stop.set()
        thread.join()


class Counting(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(getattr(func, "__name__", ""))
        return func(*args, **(kwargs or {}))


def test_modes_of_the_program_see_only_the_program() -> None:
    def count(look: LiveLook | None) -> list[str]:
        with Counting() as outer:
            if look is not None:
                look.begin()
            outputs = model(torch.randn(8, 16))
            with Counting() as inner:
                loss = F.cross_entropy(outputs, labels)
                loss.backward()
        return [*outer.names, "|", *inner.names]

    model, labels = mlp(), torch.randint(3, (8,))
    plain = count(None)
    look = LiveLook(model)
    with told(look):
        watched = count(look)
    assert look.finish() is not None
    assert watched == plain


def test_counter_of_operations_counts_only_the_program() -> None:
    def count() -> int:
        with FlopCounterMode(display=False) as counter:
            step(model)
        return counter.get_total_flops()

    model = mlp()
    plain = count()
    look = LiveLook(model)
    with told(look):
        look.begin()
        watched = count()
    assert look.finish() is not None
    assert watched == plain > 0


def test_function_transforms_are_left_alone() -> None:
    model, inputs = mlp(), torch.randn(8, 16)
    look = LiveLook(model)
    look.begin()
    outputs = torch.func.vmap(lambda one: model(one).square().sum())(inputs)
    assert outputs.shape == (8,)
    assert look.finish() is None
    assert "torch.func" in (look.reason or "")


def test_two_looks_at_once() -> None:
    maker, judge = mlp(16), mlp(1)
    first, second = LiveLook(maker), LiveLook(judge)
    with told(first), told(second):
        first.begin()
        second.begin()
        judge(maker(torch.randn(8, 16))).square().mean().backward()
    traces = first.finish(), second.finish()
    for trace, model in zip(traces, (maker, judge), strict=True):
        assert trace is not None
        reached = {p.name: p.gradient_norm for p in trace.parameters}
        assert reached == {
            name: pytest.approx(float(p.grad.norm())) for name, p in model.named_parameters()
        }


# torch warns of hooks that it meets while it compiles, and of what it looks at itself.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("what", ["model", "module", "loss"])
def test_compiled_code_meets_nothing_and_is_not_compiled_again(what: str) -> None:
    from torch._dynamo.utils import counters

    def train(looked_at: bool) -> tuple[list[Tensor], int, list[str | None]]:
        torch._dynamo.reset()
        counters.clear()
        torch.manual_seed(0)
        model: Any = mlp()
        loss: Any = F.mse_loss
        if what == "model":
            model = torch.compile(model, backend="eager")
        elif what == "module":
            model = nn.Sequential(Own(), nn.Tanh())
            model[0].compile(backend="eager")
        else:
            loss = torch.compile(loss, backend="eager")
        reasons: list[str | None] = []
        for _ in range(4):
            look = LiveLook(unwrapped(model)[0])
            with told(look):
                if looked_at:
                    look.begin()
                model.zero_grad()
                loss(model(torch.randn(8, 16)), torch.randn(8, 3)).backward()
                look.finish()
            reasons.append(look.reason)
        gradients = [p.grad for p in model.parameters()]
        return gradients, counters["frames"]["total"], reasons

    plain, frames, _ = train(looked_at=False)
    watched, frames_then, reasons = train(looked_at=True)
    assert frames == frames_then > 0
    assert all(map(torch.equal, plain, watched))
    assert all("compiled" in (reason or "") for reason in reasons)


def test_sharded_parameters_are_said_to_be_out_of_reach() -> None:
    import torch.distributed as dist
    from torch.distributed.fsdp import fully_shard
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
    try:
        model = fully_shard(nn.Linear(16, 16), mesh=dist.init_device_mesh("cpu", (2,)))
        look = LiveLook(model)
        look.begin()
        assert look.finish() is None
        assert "sharded" in (look.reason or "")
    finally:
        dist.destroy_process_group()
