"""Functions called in a forward, exchanged: by what they mean, in any spelling, anywhere."""

import copy
import inspect
import pickle
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional
import zoo
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.functional import leaky_relu, relu

from unvanish import surgery
from unvanish.errors import BadInput, MissingExtra
from unvanish.surgery import CannotCut, Edit, Part

X = torch.linspace(-2, 2, 12).reshape(3, 4)
SCALE = 2.0


def rewrite(function: str, by: str | None = "gelu", part: Part | None = None, **more: Any) -> Edit:
    options = {"function": function, **({} if part else {"by": by}), **more}
    return Edit(action="rewrite", where=("",), part=part, options=options)


class Spelled(nn.Module):
    """Each way to call a ReLU, one method each."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way, self.fc = way, nn.Linear(4, 4)
        self.relu = nn.ReLU()

    def functional(self, x: Tensor) -> Tensor:
        return F.relu(self.fc(x))

    def flagged(self, x: Tensor) -> Tensor:
        return F.relu(self.fc(x), inplace=True)

    def named(self, x: Tensor) -> Tensor:
        return torch.nn.functional.relu(input=self.fc(x), inplace=False)

    def of_torch(self, x: Tensor) -> Tensor:
        return torch.relu(self.fc(x))

    def imported(self, x: Tensor) -> Tensor:
        return relu(self.fc(x))

    def of_tensor(self, x: Tensor) -> Tensor:
        return self.fc(x).relu()

    def in_place(self, x: Tensor) -> Tensor:
        x = self.fc(x)
        x.relu_()
        return x

    def functional_in_place(self, x: Tensor) -> Tensor:
        x = self.fc(x)
        F.relu(x, inplace=True)
        return x

    def over_lines(self, x: Tensor) -> Tensor:
        return F.relu(
            # why
            self.fc(x)
        )

    def forward(self, x: Tensor) -> Tensor:
        return getattr(self, self.way)(x)


WAYS = [name for name, value in vars(Spelled).items() if callable(value) and name[0] != "_"][:-1]


@pytest.mark.parametrize("way", WAYS)
def test_every_spelling_is_met(way: str) -> None:
    model = zoo.seeded(Spelled, way)
    treated = surgery.apply(model, [rewrite("relu", method=way)])
    assert torch.equal(treated(X), F.gelu(model.fc(X)))
    assert torch.equal(model(X), F.relu(model.fc(X)))
    assert list(treated.state_dict()) == list(model.state_dict())
    assert isinstance(treated, Spelled)
    assert surgery.activations_called(model, way) == ("relu",)


def test_a_module_called_like_a_function_is_none() -> None:
    class Held(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.relu = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.relu(x) + F.softmax(x, -1)

    assert surgery.activations_called(Held()) == ()
    with pytest.raises(CannotCut, match="does not call relu"):
        surgery.apply(Held(), [rewrite("relu")])


class Chain(nn.Module):
    """Two of one kind, one of another, a private name, super, and defaults."""

    def __init__(self) -> None:
        super().__init__()
        self.__factor = 3.0

    def extra(self, x: Tensor) -> Tensor:
        return x + 1

    def forward(self, x: Tensor, shift: float = 0.5) -> Tensor:
        x = torch.tanh(F.relu(x) * SCALE)
        return relu(x - shift) * self.__factor


class Child(Chain):
    def forward(self, x: Tensor, shift: float = 0.25) -> Tensor:
        """Doc."""
        return leaky_relu(super().forward(x, shift), 0.1) + super().extra(x)


def test_one_of_several_calls_keywords_and_rewriting_twice() -> None:
    model = Chain()
    first = F.relu(X) * SCALE
    second = surgery.apply(model, [rewrite("relu", "leaky_relu", nth=1, negative_slope=0.3)])
    assert torch.equal(second(X), F.leaky_relu(torch.tanh(first) - 0.5, 0.3) * 3)
    again = surgery.apply(second, [rewrite("relu", "elu"), rewrite("elu", "silu", nth=0)])
    assert torch.equal(again(X), F.leaky_relu(torch.tanh(F.silu(X) * SCALE) - 0.5, 0.3) * 3)
    with pytest.raises(CannotCut, match="2 times"):
        surgery.apply(second, [rewrite("relu", nth=1)])


def test_super_and_defaults_are_those_of_the_class() -> None:
    model = Child()
    treated = surgery.apply(model, [rewrite("leaky_relu", "softplus")])
    inner = relu(torch.tanh(F.relu(X) * SCALE) - 0.25) * 3
    assert torch.equal(treated(X), F.softplus(inner) + X + 1)
    assert treated.forward.__doc__ == "Doc."
    inherited = surgery.apply(
        treated, [Edit(action="insert", where=("",), part=Part(type="torch.nn.Tanh"))]
    )
    assert torch.equal(inherited(X), treated(X).tanh())
    # Rewriting goes inside of what was put around.
    both = surgery.apply(inherited, [rewrite("softplus", "silu")])
    assert torch.equal(both(X), (F.silu(inner) + X + 1).tanh())


def test_classes_in_functions_see_what_they_close_over() -> None:
    def make(factor: float) -> nn.Module:
        class Local(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                return F.relu(x) * factor + SCALE

        return Local()

    treated = [surgery.apply(make(factor), [rewrite("relu")]) for factor in (2.0, 5.0)]
    for model, factor in zip(treated, (2.0, 5.0), strict=True):
        assert torch.equal(model(X), F.gelu(X) * factor + SCALE)
        assert torch.equal(copy.deepcopy(model)(X), model(X))


def test_the_globals_stay_live_and_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    before = set(globals())
    treated = surgery.apply(Chain(), [rewrite("tanh", "sigmoid")])
    assert set(globals()) == before
    monkeypatch.setitem(globals(), "SCALE", 7.0)
    assert torch.equal(treated(X), relu(torch.sigmoid(F.relu(X) * 7) - 0.5) * 3)


def test_a_part_becomes_a_child() -> None:
    part = Part(type="torch.nn.PReLU", arguments={"init": 0.4})
    model = zoo.seeded(zoo.UNet).double()
    where = Edit(action="rewrite", where=("",), part=part, options={"function": "relu"})
    treated = surgery.apply(model, [where])
    assert treated.prelu.weight.dtype == torch.float64
    extra = set(treated.state_dict()) - set(model.state_dict())
    assert extra == {"prelu.weight"}
    x = zoo.IMAGES[0].double()
    wide = F.leaky_relu(model.down1(x), 0.4)
    deep = F.leaky_relu(model.down2(F.max_pool2d(wide, 2)), 0.4)
    joined = F.leaky_relu(model.join(torch.cat([model.up(deep), wide], 1)), 0.4)
    assert torch.allclose(treated(x), model.out(joined))


def by_softplus(model: nn.Module, where: str, function: str) -> Any:
    options = {"function": function, "by": "softplus"}
    return surgery.apply(model, [Edit(action="rewrite", where=(where,), options=options)])


def test_a_dense_block() -> None:
    model = zoo.seeded(zoo.DenseBlock)
    features = [zoo.IMAGES[0]]
    for conv in model.convs:
        features.append(F.softplus(conv(torch.cat(features, 1))))
    wanted = model.head(torch.cat(features, 1).mean((2, 3)))
    assert torch.equal(by_softplus(model, "", "relu")(zoo.IMAGES[0]), wanted)


def test_a_function_beside_modules_of_its_name() -> None:
    model = zoo.seeded(lambda: zoo.MBConv(3)).eval()
    x = zoo.IMAGES[0]
    branch = model.depth(model.expand(x))
    mean = branch.mean((2, 3), keepdim=True)
    gate = torch.sigmoid(model.excite(F.softplus(model.squeeze(mean))))
    wanted = x + model.project(branch * gate)
    assert torch.equal(by_softplus(model, "", "silu")(x), wanted)


@pytest.mark.parametrize("shared", [False, True])
def test_one_of_several_modules_of_a_class(shared: bool) -> None:
    model = zoo.seeded(lambda: zoo.Checkpointed(True, shared=shared))
    treated = by_softplus(model, "blocks.1", "tanh")
    state = model.entry(zoo.FLAT[0])
    for place, block in enumerate(model.blocks):
        changed = shared or place == 1  # one instance three times: changed three times
        state = (F.softplus if changed else torch.tanh)(block.linear(state))
    assert torch.equal(treated(zoo.FLAT[0]), model.out(state))
    assert [type(block) is zoo.Block for block in treated.blocks] == [not shared, False, not shared]
    assert all(type(block) is zoo.Block for block in model.blocks)


def test_gpt2_and_its_tied_head() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(n_layer=2, n_head=2, n_embd=16, vocab_size=50, n_positions=16)
    model = GPT2LMHeadModel(config).eval()
    tokens = torch.arange(12).reshape(2, 6)
    batch = {"input_ids": tokens, "labels": tokens}
    edits = [
        Edit(action="replace", where=("transformer.h.0.mlp.act",), part=Part(type="torch.nn.ReLU")),
        Edit(
            action="wrap",
            where=("transformer.h.1.mlp",),
            options={"kind": "skipinit", "gate_start": 0.5},
        ),
        Edit(action="wrap", where=("transformer.h.0.attn",)),
        Edit(
            action="insert",
            where=("transformer.h.1.attn.c_proj",),
            part=Part(type="torch.nn.RMSNorm", arguments={"normalized_shape": 16}),
        ),
    ]
    forward = lambda net, given: net(**given).loss  # noqa: E731
    treated = surgery.apply(model, edits, batch=batch, forward=forward)
    assert treated.lm_head.weight is treated.transformer.wte.weight
    assert treated.lm_head.weight is not model.lm_head.weight
    new = set(treated.state_dict()) - set(model.state_dict())
    assert new == {
        "transformer.h.1.mlp.skip.gate",
        "transformer.h.0.attn.skip.gate",
        "transformer.h.1.attn.c_proj.norm.weight",
    }
    loss = forward(treated, batch)
    loss.backward()
    assert all(p.grad is not None for p in treated.parameters())
    assert not torch.equal(loss, forward(model, batch))


def test_tracebacks_show_the_line_and_the_source_can_be_read() -> None:
    treated = surgery.apply(Chain(), [rewrite("tanh", "softplus")])
    source = inspect.getsource(type(treated).forward)
    assert "softplus(F.relu(x) * SCALE)" in source
    try:
        treated(None)
    except TypeError:
        assert "softplus(F.relu(x) * SCALE)" in traceback.format_exc()


def test_a_pickle_holds_no_code_and_rewrites_again() -> None:
    treated = surgery.apply(Chain(), [rewrite("tanh", "softplus")])
    made = pickle.dumps(treated)
    assert b"def forward" not in made
    assert torch.equal(pickle.loads(made)(X), treated(X))


SCRIPT = """
import torch
from torch import nn
from torch.nn import functional as F
from unvanish import surgery

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)
    def forward(self, x):
        return F.relu(self.fc(x))

model = Net()
edit = surgery.Edit(action="rewrite", where=("",), options={"function": "relu", "by": "gelu"})
treated = surgery.apply(model, [edit])
x = torch.randn(3, 4)
print(torch.equal(treated(x), F.gelu(model.fc(x))))
"""


def test_a_class_of_a_script(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "train.py")], capture_output=True, text=True
    )
    assert done.stdout.strip() == "True", done.stderr


def _without_source() -> nn.Module:
    made: dict[str, Any] = {}
    exec(
        "class Net(nn.Module):\n    def forward(self, x):\n        return F.relu(x)\n",
        {**globals(), "__name__": "nowhere"},
        made,
    )
    return made["Net"]()


class Nameless(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        F.relu_(x + 1)
        return x


def test_what_cannot_be_rewritten_is_said() -> None:
    with pytest.raises(CannotCut, match="source"):
        surgery.apply(_without_source(), [rewrite("relu")])
    with pytest.raises(CannotCut, match="without a name"):
        surgery.apply(Nameless(), [rewrite("relu")])
    with pytest.raises(surgery.CannotCut, match="no method other"):
        surgery.apply(Chain(), [rewrite("relu", method="other")])
    with pytest.raises(CannotCut, match="does not call"):
        surgery.apply(nn.LSTM(3, 4), [rewrite("relu")])


def test_names_that_become_source_are_names(tmp_path: Path) -> None:
    for options in (
        {"by": "gelu(x), print"},
        {"by": "no_such"},
        {"by": "gelu", "x=print(1), approximate": "none"},
        {"by": "gelu", "nth": "first"},
    ):
        surgery.save([rewrite("relu", **options)], tmp_path / "edits")
        with pytest.raises(BadInput):
            surgery.apply(Chain(), surgery.load(tmp_path / "edits"))


def test_without_libcst_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unvanish.surgery.calls.libcst", None)
    with pytest.raises(MissingExtra, match="pip install"):
        surgery.apply(Chain(), [rewrite("relu", "mish")])
