"""A cure reaches the training itself, which makes its own model through what the program goes through.

Each project holds a training that never calls ``program()``. What it makes of the patched source is
held against what surgery makes of what the program returned before.
"""

import copy
from types import ModuleType
from typing import Any

import pytest
import torch
from test_patch import CRITICAL, HEAD, Project, changed, project, replace, same_model, treated

from unvanish import surgery
from unvanish.surgery import Edit, Part
from unvanish.treatment.patch import make_patch

__all__ = ["project"]

NET = (
    HEAD
    + """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 16), nn.Sigmoid(), nn.Linear(16, 16))
        self.head = nn.Linear(16, 3)

    def forward(self, x):
        return self.head(self.body(x))

"""
)
TRAINER = (
    NET
    + """
class Trainer:
    def __init__(self, rate=0.1):
        torch.manual_seed(0)
        self.inputs, self.labels = torch.randn(32, 8), torch.randint(3, (32,))
        self.model = Net()
        self.optimizer = torch.optim.Adam(self.model.{trained}, lr=rate)
        self.loss = nn.CrossEntropyLoss()
        self.steps = 3

    def fit(self):
        for _ in range(self.steps):
            self.optimizer.zero_grad()
            self.loss(self.model(self.inputs), self.labels).backward()
            self.optimizer.step()


def program():
    trainer = Trainer()
    return trainer.model, {data}, trainer.loss, trainer.optimizer


def training():
    trainer = Trainer()
    return trainer.model, trainer.optimizer
"""
)
FILE = (
    NET
    + """
torch.manual_seed(0)
inputs, labels = torch.randn(32, 8), torch.randint(3, (32,))
model = Net()
optimizer = torch.optim.Adam(model.{trained}, lr=1e-1)
loss = nn.CrossEntropyLoss()


def program():
    return model, {data}, loss, optimizer


def training():
    return model, optimizer


if __name__ == "__main__":
    for _ in range(3):
        optimizer.zero_grad()
        loss(model(inputs), labels).backward()
        optimizer.step()
"""
)
BUILDER = (
    NET
    + """
def build():
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.Adam(model.{trained}, lr=1e-1)
    return model, optimizer


def program():
    model, optimizer = build()
    torch.manual_seed(0)
    inputs, labels = torch.randn(32, 8), torch.randint(3, (32,))
    return model, (inputs, labels), nn.CrossEntropyLoss(), optimizer


def training():
    model, optimizer = build()
    return model, optimizer
"""
)
HELD = {"{data}": "(trainer.inputs, trainer.labels)", "{trained}": "parameters()"}
NAMED = {"{data}": "(inputs, labels)", "{trained}": "parameters()"}
FORMS = {
    "trainer": (TRAINER, HELD),
    "file": (FILE, NAMED),
    "builder": (BUILDER, NAMED),
}
SELU = replace("body.1", part=Part(type="torch.nn.SELU"))
HALF = Edit(action="scale", where=("head.weight",), options={"factor": 0.5})
SKIP = Edit(action="wrap", where=("body.2",), options={"kind": "rezero", "projection": "none"})
MISSING = Edit(action="optimizer", where=("head.weight", "head.bias"))
FASTER = Edit(action="optimizer", options={"lr_factor": 3.0})


def filled(form: str, **other: str) -> str:
    text, values = FORMS[form]
    for name, value in {**values, **{f"{{{key}}}": value for key, value in other.items()}}.items():
        text = text.replace(name, value)
    return text


def trained(project: Project) -> tuple[Any, torch.optim.Optimizer]:
    torch.manual_seed(0)
    return project.load().training()


def check(project: Project, *edits: Edit) -> list[str]:
    """The training's model and optimizer are the treated ones; returns the lines that came."""
    before = project.run()
    wanted = treated(before, *edits)
    optimizer = surgery.carried(before["optimizer"], before["model"], wanted, edits)
    patch = project.patch(*edits)
    assert patch.cannot == ()
    project.apply(patch)
    model, made = trained(project)
    same_model(model, wanted, before["data"][0])
    mine, theirs = by_name(model, made), by_name(wanted, optimizer)
    assert mine == theirs
    return changed(patch)[1]


def by_name(model: Any, optimizer: torch.optim.Optimizer) -> dict[str, float]:
    """The rate of each parameter that the optimizer has."""
    names = {id(p): name for name, p in model.named_parameters()}
    groups = optimizer.param_groups
    return {names[id(p)]: pytest.approx(g["lr"]) for g in groups for p in g["params"]}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("edits", [[HALF], [SKIP], [FASTER], [SELU, HALF, FASTER]])
def test_what_the_model_alone_takes_stands_where_it_is_made(
    project: Project, form: str, edits: list[Edit]
) -> None:
    project.write(filled(form))
    check(project, *edits)


@pytest.mark.parametrize("form", FORMS)
def test_the_optimizer_takes_all_parameters_in_the_call_that_makes_it(
    project: Project, form: str
) -> None:
    project.write(filled(form, trained="body.parameters()"))
    added = check(project, MISSING, FASTER)
    assert len(added) == 1
    name = "self.model" if form == "trainer" else "model"
    assert f"Adam({name}.parameters(), lr=" in added[0]


def test_initial_values_are_given_where_the_data_is(project: Project) -> None:
    project.write(filled("trainer"))
    line = "unvanish.init.critical_(self.model, (self.inputs, self.labels), self.loss)"
    assert check(project, CRITICAL) == ["import unvanish", f"        {line}"]
    lines = (project.root / "train.py").read_text().splitlines()
    assert lines[lines.index(f"        {line}") - 1] == "        self.loss = nn.CrossEntropyLoss()"
    project.write(filled("file"))
    line = "unvanish.init.critical_(model, (inputs, labels), loss)"
    assert check(project, CRITICAL) == ["import unvanish", line]


def test_what_the_place_cannot_name_is_said(project: Project) -> None:
    """The builder has no batch: the line stays in the program, and the training's call is named."""
    project.write(filled("builder"))
    patch = project.patch(HALF, CRITICAL)
    line = filled("builder").splitlines().index("def training():") + 2
    (said,) = patch.cannot
    assert f"train.py:{line}" in said
    assert "program()" in said
    added = changed(patch)[1]
    assert "        model.head.weight.mul_(0.5)" in added
    assert "    unvanish.init.critical_(model, data, loss)" in added
    before = project.run()
    project.apply(patch)
    same_model(project.run()["model"], treated(before, HALF, CRITICAL), before["data"][0])


def test_a_batch_that_is_drawn_is_not_drawn_twice(project: Project) -> None:
    drawn = "(torch.randn(32, 8), trainer.labels)"
    project.write(filled("trainer", data=drawn))
    patch = project.patch(CRITICAL)
    assert "    unvanish.init.critical_(model, data, loss)" in changed(patch)[1]
    assert "train.py" in patch.cannot[0]


def test_order_is_kept_where_one_line_had_to_stay_in_the_program(project: Project) -> None:
    project.write(filled("builder"))
    before = project.run()
    patch = project.patch(CRITICAL, HALF)
    assert "    with torch.no_grad():" in changed(patch)[1]
    project.apply(patch)
    same_model(project.run()["model"], treated(before, CRITICAL, HALF), before["data"][0])


def test_a_training_that_calls_the_program_needs_no_word(project: Project) -> None:
    text = filled("builder").replace(
        "optimizer = build()\n    return model", "_, _, optimizer = program()\n    return model"
    )
    project.write(text)
    assert project.patch(CRITICAL).cannot == ()


def test_names_of_the_file_keep_their_meaning(project: Project) -> None:
    project.write(
        filled("file").replace("model = Net()", 'edit, name = "mine", "too"\nmodel = Net()')
    )
    names = [f"{part}.{kind}" for part in ("body.0", "body.2") for kind in ("weight", "bias")]
    check(project, SKIP, Edit(action="scale", where=tuple(names), options={"factor": 0.5}))
    module = project.load()
    assert (module.edit, module.name) == ("mine", "too")


TWICE = """
        self.model = self.model.to("cpu")
        for layer in self.model.body:
            if isinstance(layer, nn.Linear):
                nn.init.zeros_(layer.bias)"""


def test_lines_come_behind_all_that_is_done_to_the_model(project: Project) -> None:
    text = filled("trainer").replace("self.model = Net()", f"self.model: nn.Module = Net(){TWICE}")
    project.write(text)
    ones = Edit(action="fill", where=("body.0.bias",), options={"value": 1.0})
    check(project, ones, SKIP, HALF)


def test_an_object_that_the_file_makes_is_followed_to_its_class(project: Project) -> None:
    text = filled("trainer", trained="body.parameters()")
    once = "trainer = Trainer()\n\n\ndef program():\n    torch.manual_seed(0)"
    project.write(text.replace("def program():\n    trainer = Trainer()", once))
    assert len(check(project, MISSING, FASTER)) == 1


def test_a_class_in_another_file_takes_the_lines(project: Project) -> None:
    head, rest = filled("trainer").split("def program")
    project.write(head, "trainer.py")
    project.write(f"from trainer import Trainer\n\n\ndef program{rest}")
    check(project, SELU, CRITICAL, HALF, FASTER)
    assert "critical_(self.model" in (project.root / "trainer.py").read_text()


def test_the_class_that_both_make_is_named_with_its_line(project: Project) -> None:
    own = """
def program():
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    return model, (torch.randn(32, 8), torch.randint(3, (32,))), nn.CrossEntropyLoss(), optimizer


def main():
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    other = torch.optim.Adam(model.parameters())
"""
    project.write(NET + own)
    lines = (NET + own).splitlines()
    start = lines.index("def main():") + 2
    (said,) = project.patch(FASTER).cannot
    assert f"(train.py:{start}, train.py:{start + 1})" in said


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (
            "trainer = Trainer()\n    return trainer",
            "trainer = Trainer()\n    trainer.fit()\n    return trainer",
        ),
        (
            "trainer = Trainer()\n    return trainer",
            "other, trainer = Trainer(), Trainer()\n    return trainer",
        ),
        ("self.steps = 3", "self.steps = 3\n        self.model.head = nn.Linear(16, 3)"),
    ],
)
def test_what_trains_or_makes_others_stays_as_it_is(project: Project, old: str, new: str) -> None:
    project.write(filled("trainer").replace(old, new, 1))
    before = project.run()
    patch = project.patch(HALF)
    project.apply(patch)
    same_model(project.run()["model"], treated(before, HALF), before["data"][0])


def test_a_new_layer_is_there_before_the_optimizer_or_not_at_all(project: Project) -> None:
    """What a patch replaces behind the optimizer would never be trained."""
    text = filled("trainer").replace("self.model = Net()", "self.make()")
    made = "\n    def make(self):\n        self.model = Net()\n\n    def fit"
    project.write(text.replace("\n    def fit", made))
    patch = project.patch(SKIP)
    assert (patch.diff, len(patch.cannot)) == ("", 1)


def test_a_copy_of_the_model_is_made_before_the_optimizer_or_not_at_all(project: Project) -> None:
    """Here the batch that shows the shapes comes behind the optimizer."""
    project.write(filled("builder"))
    patch = project.patch(Edit(action="wrap", where=("body.2",), options={"kind": "rezero"}))
    assert (patch.diff, len(patch.cannot)) == ("", 1)
    text = filled("file").replace("loss = nn.CrossEntropyLoss()\n", "", 1)
    project.write(text.replace("model = Net()", "loss = nn.CrossEntropyLoss()\nmodel = Net()"))
    check(project, Edit(action="wrap", where=("body.2",), options={"kind": "rezero"}))


def test_the_users_own_optimizer_is_not_touched(project: Project) -> None:
    project.write(filled("file", trained="body.parameters()"))
    module: ModuleType = project.load()
    groups = copy.copy(module.optimizer.param_groups)
    held, rate = [*groups[0]["params"]], groups[0]["lr"]
    make_patch(module.model, [MISSING, FASTER], module.program)
    assert module.optimizer.param_groups == groups
    assert (len(groups[0]["params"]), groups[0]["lr"]) == (len(held), rate)


def test_a_function_that_is_handed_the_model_calls_it_by_its_own_name(project: Project) -> None:
    text = filled("builder", trained="body.parameters()")
    text = text.replace(
        "optimizer = torch.optim.Adam(model.", "optimizer = stepping(model)\n    #", 1
    )
    made = "def stepping(net):\n    return torch.optim.Adam(net.body.parameters(), lr=1e-1)\n\n\n"
    project.write(text.replace("def build", made + "def build"))
    assert check(project, MISSING) == ["    return torch.optim.Adam(net.parameters(), lr=1e-1)"]
