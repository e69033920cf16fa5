"""Patches of optimizers, training steps, frozen parameters and layers with options."""

import pytest
import torch
from test_patch import HEAD, Project, changed, check, project
from torch import nn

from unvanish.surgery import Edit, Part

__all__ = ["project"]

PROGRAM = (
    HEAD
    + """
def program():
    torch.manual_seed(0)
    batch = torch.randn(16, 8), torch.randint(3, (16,))
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    optimizer = {optimizer}
    return model, batch, nn.CrossEntropyLoss(), optimizer
"""
)


def option(*where: str, **options: bool | float | str | None) -> Edit:
    return Edit(action="optimizer", where=where, options=options)


@pytest.mark.parametrize(
    ("before", "edit", "after"),
    [
        (
            "torch.optim.Adam(model.parameters(), lr=1e-1)",
            option(lr=0.001),
            "torch.optim.Adam(model.parameters(), lr=0.001)",
        ),
        (
            "torch.optim.Adam(model.parameters(), 0.1, )  # fast",
            option(lr_factor=0.1, eps=1e-12),
            "torch.optim.Adam(model.parameters(), 0.01, eps=1e-12, )  # fast",
        ),
        (
            "torch.optim.SGD((model.parameters()), lr=(0.1))",
            option(weight_decay=0.0),
            "torch.optim.SGD((model.parameters()), lr=(0.1), weight_decay=0.0)",
        ),
        (
            "torch.optim.Adam(\n        model.parameters(),\n        lr=0.1,  # so\n    )",
            option(eps=1e-9),
            "torch.optim.Adam(\n        model.parameters(),\n        lr=0.1,  # so\n"
            "        eps=1e-09,\n    )",
        ),
        (
            "torch.optim.Adam(model[0].parameters())",
            option("2.weight", "2.bias"),
            "torch.optim.Adam(model.parameters())",
        ),
    ],
)
def test_the_call_that_makes_the_optimizer_is_changed(
    project: Project, before: str, edit: Edit, after: str
) -> None:
    project.write(PROGRAM.replace("{optimizer}", before))
    _, made = check(project, edit)
    assert f"optimizer = {after}\n" in (project.root / "train.py").read_text()
    wanted = {key: value for key, value in edit.options.items() if key != "lr_factor"}
    group = made["optimizer"].param_groups[0]
    assert {key: group[key] for key in wanted} == wanted
    if edit.where:
        assert {id(p) for p in group["params"]} == {id(p) for p in made["model"].parameters()}


def test_groups_with_options_of_their_own_are_set_below(project: Project) -> None:
    groups = '[{"params": model[0].parameters(), "lr": 1.0}, {"params": model[2].parameters()}]'
    project.write(PROGRAM.replace("{optimizer}", f"torch.optim.SGD({groups}, lr=0.1)"))
    patch, made = check(project, option(lr=0.01))
    assert [group["lr"] for group in made["optimizer"].param_groups] == [0.01, 0.01]
    assert changed(patch)[0] == []
    project.write(PROGRAM.replace("{optimizer}", f"torch.optim.SGD({groups}, lr=0.1)"))
    _, made = check(project, option("0.weight", "0.bias", lr=0.5))
    assert [group["lr"] for group in made["optimizer"].param_groups] == [0.5, 0.1]


def test_a_head_that_comes_after_the_optimizer_gets_a_group(project: Project) -> None:
    text = PROGRAM.replace("{optimizer}", "torch.optim.Adam(model.parameters(), 1e-2)")
    project.write(text.replace("    return", "    model[2] = nn.Linear(8, 3)\n    return"))
    patch, made = check(project, option("2.weight", "2.bias"))
    assert changed(patch)[1] == ['    optimizer.add_param_group({"params": model[2].parameters()})']
    held = {id(p) for g in made["optimizer"].param_groups for p in g["params"]}
    assert {id(p) for p in made["model"].parameters()} <= held


LOOP = """

def train(model, optimizer, batches, loss):
    for inputs, targets in batches:
        optimizer.zero_grad()
        loss(model(inputs), targets).backward()
        # one step
        optimizer.step()
"""
SCALED = """

def train(net, optimizer, scaler, batches, loss):
    for inputs, targets in batches:
        scaler.scale(loss(net(inputs), targets)).backward()
        scaler.step(optimizer)
        scaler.update()
"""


def test_clipping_goes_into_the_users_loop(project: Project) -> None:
    text = PROGRAM.replace("{optimizer}", "torch.optim.Adam(model.parameters())")
    clip = Edit(action="step", options={"clip_norm": 0.5})
    project.write(text + LOOP + SCALED)
    patch, _ = check(project, clip)
    every = '[p for group in optimizer.param_groups for p in group["params"]]'
    assert changed(patch) == (
        [],
        [
            "        nn.utils.clip_grad_norm_(model.parameters(), 0.5)",
            "        scaler.unscale_(optimizer)",
            f"        nn.utils.clip_grad_norm_({every}, 0.5)",
        ],
    )


def test_without_a_loop_in_sight_it_says_what_to_write(project: Project) -> None:
    project.write(PROGRAM.replace("{optimizer}", "torch.optim.Adam(model.parameters())"))
    patch = project.patch(
        Edit(action="step", options={"clip_norm": 0.5}),
        Edit(action="step", options={"loss_scale": 1024.0, "unscale": True}),
        Edit(action="advice", options={"text": "Look at your labels."}),
    )
    assert patch.diff == ""
    assert "clip_grad_norm_(model.parameters(), 0.5)" in patch.cannot[0]
    assert "1024" in patch.cannot[1]
    assert patch.cannot[2] == "Look at your labels."


def test_what_froze_a_part_is_taken_away(project: Project) -> None:
    text = PROGRAM.replace(
        "    optimizer = {optimizer}",
        "    model[0].requires_grad_(False)  # frozen\n"
        "    for p in model[2].parameters():\n        p.requires_grad = False\n"
        "    optimizer = torch.optim.SGD(model.parameters(), 0.1)",
    )
    on = {"requires_grad": True}
    project.write(text)
    patch, _ = check(project, Edit(action="set", where=("0", "2.weight", "2.bias"), options=on))
    assert changed(patch)[1] == []
    assert len(changed(patch)[0]) == 3
    project.write(text)
    patch, _ = check(project, Edit(action="set", where=("2.bias",), options=on))
    assert changed(patch) == ([], ["    model[2].bias.requires_grad_(True)"])


TRANSFORMER = (
    HEAD
    + """
def program():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
    model = nn.Sequential(nn.TransformerEncoder(layer, 3, enable_nested_tensor=False))
    return model, (torch.randn(4, 5, 8), torch.randn(4, 5, 8)), nn.MSELoss()
"""
)


def test_a_pattern_that_is_copied_is_changed_where_it_is_made(project: Project) -> None:
    project.write(TRANSFORMER)
    where = tuple(f"0.layers.{index}" for index in range(3))
    patch, _ = check(project, Edit(action="set", where=where, options={"norm_first": True}))
    assert changed(patch)[1] == [
        "    layer = nn.TransformerEncoderLayer("
        "8, 2, 16, batch_first=True, dropout=0.0, norm_first=True)"
    ]
    project.write(TRANSFORMER)
    patch, _ = check(project, Edit(action="set", where=where[:1], options={"norm_first": True}))
    assert changed(patch)[0] == []


RECURRENT = (
    HEAD
    + """
class Net(nn.Module):
    def __init__(self, inside):
        super().__init__()
        self.rnn = nn.RNN(inside, 8, nonlinearity="tanh", batch_first=True)
        self.head = nn.Linear(8, 3)
        self.act = nn.Softmax(dim=1)

    def forward(self, x):
        return self.act(self.head(self.rnn(x)[0][:, -1]))


def program():
    torch.manual_seed(0)
    return Net(2), (torch.randn(4, 5, 2), torch.randint(3, (4,))), nn.CrossEntropyLoss()
"""
)


@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
def test_a_recurrent_cell_keeps_the_arguments_as_they_are_written(
    project: Project, kind: str
) -> None:
    from unvanish.surgery import recurrent_part

    project.write(RECURRENT)
    part = recurrent_part(nn.RNN(2, 8, batch_first=True), kind)
    patch = project.patch(
        Edit(action="replace", where=("rnn",), part=part),
        Edit(action="replace", where=("act",), part=Part(type="torch.nn.Identity")),
    )
    project.apply(patch)
    name = "nn.GRU" if kind == "GRU" else "unvanish.nn.LSTMLikeRNN"
    assert f"        self.rnn = {name}(inside, 8, batch_first=True)" in changed(patch)[1]
    assert "        self.act = nn.Identity()" in changed(patch)[1]
    made = project.run()
    assert type(made["model"].rnn).__name__ == part.type.rpartition(".")[2]
    made["model"](made["data"][0])


def test_norms_are_put_beside_or_behind(project: Project) -> None:
    text = PROGRAM.replace("{optimizer}", "torch.optim.Adam(model.parameters())")
    norm = Part(type="torch.nn.LayerNorm", arguments={"normalized_shape": 8})
    project.write(text)
    patch, made = check(project, Edit(action="insert", where=("1",), part=norm))
    assert "nn.Sequential(nn.ReLU(), nn.LayerNorm(normalized_shape=8))" in changed(patch)[1][0]
    project.write(text)
    patch, made = check(project, Edit(action="insert", where=("0",), part=norm))
    line = '    unvanish.nn.extend_(model[0], nn.LayerNorm(normalized_shape=8), "behind", "norm")'
    assert line in changed(patch)[1]
    held = {id(p) for p in made["optimizer"].param_groups[0]["params"]}
    assert {id(p) for p in made["model"].parameters()} == held


def test_what_takes_more_than_an_assignment_is_left_to_surgery(project: Project) -> None:
    text = PROGRAM.replace("{optimizer}", "torch.optim.Adam(model.parameters())")
    project.write(text)
    wrap = Edit(action="wrap", where=("0",), options={"projection": "none"})
    patch, made = check(project, wrap)
    assert "unvanish.surgery.apply(model" in "".join(changed(patch)[1])
    held = {id(p) for p in made["optimizer"].param_groups[0]["params"]}
    assert {id(p) for p in made["model"].parameters()} == held
    project.write(text)
    check(project, Edit(action="fill", where=("2.bias",), options={"value": 0.0}))


BLOCKS = """import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(8, 8) for _ in range(5)])
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        for block in self.blocks:
            x = x + block(x).relu()
        return self.head(x)


def program():
    model = Net()
    batches = [(torch.randn(16, 8), torch.randint(3, (16,))) for _ in range(3)]
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    return model, batches, nn.CrossEntropyLoss(), optimizer
"""


def test_many_skips_of_one_kind_are_one_loop(project: Project) -> None:
    project.write(BLOCKS)
    options = {"kind": "rezero", "projection": "none"}
    wraps = [Edit(action="wrap", where=(f"blocks.{k}",), options=options) for k in range(5)]
    patch, made = check(project, *wraps)
    assert "        model = unvanish.surgery.apply(model, [edit])" in changed(patch)[1]
    assert len(changed(patch)[1]) < 20
    assert not patch.cannot
    held = {id(p) for p in made["optimizer"].param_groups[0]["params"]}
    assert {id(p) for p in made["model"].parameters()} == held


def test_skips_of_unknown_shapes_leave_nothing_half_written(project: Project) -> None:
    project.write(BLOCKS)
    patch = project.patch(Edit(action="wrap", where=("blocks.0",), options={"kind": "rezero"}))
    assert (patch.diff, len(patch.cannot)) == ("", 1)


def test_same_for_double_precision_in_eval_mode(project: Project) -> None:
    text = PROGRAM.replace("{optimizer}", "torch.optim.Adam(model.parameters())")
    text = text.replace("torch.randn(16, 8)", "torch.randn(16, 8).double()")
    project.write(text.replace("nn.Linear(8, 3))", "nn.Linear(8, 3)).double().eval()"))
    norm = Part(type="torch.nn.BatchNorm1d", arguments={"num_features": 8})
    _, made = check(project, Edit(action="insert", where=("0",), part=norm))
    assert {p.dtype for p in made["model"].parameters()} == {torch.float64}
    assert not any(module.training for module in made["model"].modules())


def test_steps_that_remember_get_controls_before_the_loop(project: Project) -> None:
    text = PROGRAM.replace("{optimizer}", "torch.optim.Adam(model.parameters())") + LOOP
    project.write(text)
    patch, _ = check(project, Edit(action="step", options={"clip_percentile": 10.0}))
    assert changed(patch)[1] == [
        "import unvanish",
        '    controls = unvanish.surgery.Controls({"clip_percentile": 10.0})',
        "        controls(model, optimizer)",
    ]
    module, made = project.load(), project.run()
    module.train(made["model"], made["optimizer"], [made["data"]] * 3, made["loss"])


def test_clipping_that_is_there_gets_the_other_limit(project: Project) -> None:
    text = PROGRAM.replace("{optimizer}", "torch.optim.Adam(model.parameters())")
    clipped = "torch.nn.utils.clip_grad_norm_(model.parameters(), 1e-6)"
    project.write(text + LOOP.replace("# one step", clipped))
    patch, _ = check(project, Edit(action="step", options={"clip_norm": 1.0}))
    assert changed(patch)[1] == [f"        {clipped.replace('1e-6', '1.0')}"]


def test_betas_are_a_pair(project: Project) -> None:
    project.write(PROGRAM.replace("{optimizer}", "torch.optim.Adam(model.parameters())"))
    _, made = check(project, option(beta2=0.95))
    assert made["optimizer"].param_groups[0]["betas"] == (0.9, 0.95)


def test_a_long_line_is_broken(project: Project) -> None:
    project.write(PROGRAM.replace("{optimizer}", "torch.optim.Adam(model.parameters())"))
    wrap = Edit(
        action="wrap", where=("0", "2"), options={"projection": "linear", "inside": 8, "outside": 3}
    )
    patch, _ = check(project, wrap)
    assert max(len(line) for line in changed(patch)[1]) <= 88
