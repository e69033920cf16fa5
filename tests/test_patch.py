"""Patches: applied by git itself, run, and compared with what surgery makes of the model."""

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from unvanish import surgery
from unvanish.batches import take_batches
from unvanish.cli.target import named
from unvanish.surgery import Edit, Part
from unvanish.treatment.patch import Patch, make_patch

GELU = Part(type="torch.nn.GELU")
CRITICAL = Edit(action="initialise", options={"method": "critical_"})


@pytest.fixture
def project(tmp_path: Path) -> Iterator["Project"]:
    made = Project(tmp_path)
    yield made
    made.forget()


class Project:
    """A git repository with a user's files in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.git("init", "-q")
        self._loaded: set[str] = set()

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", "-c", "core.autocrlf=false", *arguments],
            cwd=self.root,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def write(self, text: str | bytes, name: str = "train.py") -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def load(self, name: str = "train.py") -> ModuleType:
        """The file as a fresh module; its neighbours are imported anew, too."""
        self.forget()
        sys.path.insert(0, str(self.root))
        stem = Path(name).stem
        spec = importlib.util.spec_from_file_location(stem, self.root / name)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[stem] = module
        sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
        spec.loader.exec_module(module)
        sys.dont_write_bytecode = before
        return module

    def forget(self) -> None:
        sys.path[:] = [place for place in sys.path if place != str(self.root)]
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", "")).startswith(str(self.root)):
                del sys.modules[name]

    def run(self, seed: int = 0) -> dict[str, Any]:
        torch.manual_seed(seed)
        return named(self.load().program(), "train.py:program")

    def patch(self, *edits: Edit) -> Patch:
        program = self.load().program
        torch.manual_seed(0)
        return make_patch(named(program(), "program")["model"], edits, program)

    def apply(self, patch: Patch) -> None:
        assert patch.diff
        (self.root / "cure.patch").write_bytes(b"")
        patch.save(self.root / "cure.patch")
        self.git("apply", "--whitespace=nowarn", "cure.patch")


def treated(made: dict[str, Any], *edits: Edit) -> nn.Module:
    batch = take_batches(made["data"], 1)[0]
    return surgery.apply(
        made["model"], edits, batch=batch, loss=made["loss"], forward=made.get("forward")
    )


def check(project: Project, *edits: Edit) -> tuple[Patch, dict[str, Any]]:
    """The patched program makes the model that surgery makes: names, values, outputs."""
    before = project.run()
    wanted = treated(before, *edits)
    patch = project.patch(*edits)
    project.apply(patch)
    after = project.run()
    same_model(after["model"], wanted, take_batches(before["data"], 1)[0][0])
    return patch, after


def same_model(made: nn.Module, wanted: nn.Module, inputs: Any) -> None:
    mine, theirs = made.state_dict(), wanted.state_dict()
    assert set(mine) == set(theirs)
    for name, value in theirs.items():
        assert torch.equal(mine[name], value), name
    frozen = [name for name, p in wanted.named_parameters() if not p.requires_grad]
    assert frozen == [name for name, p in made.named_parameters() if not p.requires_grad]
    torch.manual_seed(1)
    left = made(inputs)
    torch.manual_seed(1)
    right = wanted(inputs)
    assert torch.equal(left, right)


def changed(patch: Patch) -> tuple[list[str], list[str]]:
    lines = patch.diff.splitlines()
    removed = [line[1:] for line in lines if line.startswith("-") and not line.startswith("---")]
    added = [line[1:] for line in lines if line.startswith("+") and not line.startswith("+++")]
    return removed, added


HEAD = """\
import torch
from torch import nn

"""
STACK = (
    HEAD
    + """
def program():
    torch.manual_seed(0)
    inputs, labels = torch.randn(32, 8), torch.randint(3, (32,))
    layers = []
    for _ in range(12):
        layers += [nn.Linear(8, 8), nn.Sigmoid()]  # twelve of them
    model = nn.Sequential(*layers, nn.Linear(8, 3))

    loss = nn.CrossEntropyLoss()
    return model, (inputs, labels), loss
"""
)


def replace(*where: str, part: Part = GELU) -> Edit:
    return Edit(action="replace", where=where, part=part)


def test_all_that_a_loop_makes_is_changed_in_the_loop(project: Project) -> None:
    project.write(STACK)
    edits = [replace(str(index)) for index in range(1, 24, 2)]
    patch, _ = check(project, *edits)
    assert changed(patch) == (
        ["        layers += [nn.Linear(8, 8), nn.Sigmoid()]  # twelve of them"],
        ["        layers += [nn.Linear(8, 8), nn.GELU()]  # twelve of them"],
    )
    assert patch.cannot == ()


def test_a_part_of_what_a_loop_makes_is_exchanged_below_the_model(project: Project) -> None:
    project.write(STACK)
    patch, _ = check(project, replace("7"))
    assert changed(patch) == ([], ["    model[7] = nn.GELU()"])
    project.write(STACK)
    patch, _ = check(project, replace("1", "3", "5", "7"))
    assert changed(patch)[1] == [
        "    for index in range(1, 8, 2):",
        "        model[index] = nn.GELU()",
    ]


def test_initialise_names_what_the_return_computes(project: Project) -> None:
    project.write(STACK)
    patch, _ = check(project, CRITICAL)
    assert changed(patch) == (
        ["    return model, (inputs, labels), loss"],
        [
            "import unvanish",
            "    data = (inputs, labels)",
            "    unvanish.init.critical_(model, data, loss)",
            "    return model, data, loss",
        ],
    )


def test_initialise_stands_behind_the_model_where_all_has_a_name(project: Project) -> None:
    text = STACK.replace("(inputs, labels), loss", "batch, loss, optimizer").replace(
        "    layers = []",
        "    batch, loss = (inputs, labels), nn.CrossEntropyLoss()\n    layers = []",
    )
    project.write(
        text.replace(
            "    loss = nn.CrossEntropyLoss()\n    return",
            "    optimizer = torch.optim.SGD(model.parameters(), 0.1)\n    return",
        )
    )
    check(project, CRITICAL)
    lines = (project.root / "train.py").read_text().splitlines()
    made = lines.index("    model = nn.Sequential(*layers, nn.Linear(8, 3))")
    assert lines[made + 1] == "    unvanish.init.critical_(model, batch, loss)"


def test_order_is_kept_where_lines_came_first(project: Project) -> None:
    project.write(STACK)
    patch, _ = check(project, CRITICAL, replace(*(str(index) for index in range(1, 24, 2))))
    removed, added = changed(patch)
    assert removed == ["    return model, (inputs, labels), loss"]
    assert any("set_submodule" in line or "model[index]" in line for line in added)


SIGMOIDS = """\
import torch
import torch.nn as tnn
from torch.nn.functional import relu


class Block(tnn.Module):
    def __init__(self, width):
        super().__init__()
        self.linear = tnn.Linear(width, width)
        self.act = tnn.Sigmoid()

    def forward(self, x):
        return self.act(self.linear(x)) + torch.sigmoid(x)  # both


class Net(tnn.Module):
    def __init__(self, width):
        super().__init__()
        self.blocks = tnn.ModuleList([Block(width) for _ in range(3)])
        self.head = tnn.Linear(width, 3)

    def forward(self, x):
        for block in self.blocks:
            x = relu(block(x))
        return self.head(x)
"""
USES = """\
from torch import nn, randn, randint, manual_seed
from nets import Net


def make(width):
    return Net(width)


def program():
    manual_seed(0)
    net = make(8)
    return net, (randn(16, 8), randint(3, (16,))), nn.CrossEntropyLoss()


if __name__ == "__main__":
    program()
"""


def test_a_class_in_another_file_is_changed_there(project: Project) -> None:
    project.write(SIGMOIDS, "nets.py")
    project.write(USES)
    half = Edit(action="scale", where=("head.weight",), options={"factor": 0.5})
    patch, _ = check(project, half)
    assert changed(patch)[1] == [
        "import torch",
        "    with torch.no_grad():",
        "        net.head.weight.mul_(0.5)",
    ]
    project.write(USES)
    patch, _ = check(project, replace(*(f"blocks.{i}.act" for i in range(3))), CRITICAL)
    assert "--- a/nets.py" in patch.diff
    assert "--- a/train.py" in patch.diff
    assert "        self.act = tnn.GELU()" in changed(patch)[1]


def rewrite(*where: str, function: str, part: Part = GELU) -> Edit:
    return Edit(action="rewrite", where=where, part=part, options={"function": function})


def test_functions_in_a_forward_are_changed_there(project: Project) -> None:
    project.write(SIGMOIDS, "nets.py")
    project.write(USES)
    edits = [rewrite(f"blocks.{i}", function="sigmoid") for i in range(3)]
    patch, _ = check(project, *edits, rewrite("", function="relu", part=Part(type="torch.nn.SiLU")))
    removed, added = changed(patch)
    assert removed == [
        "        return self.act(self.linear(x)) + torch.sigmoid(x)  # both",
        "            x = relu(block(x))",
    ]
    assert added == [
        "        return self.act(self.linear(x)) + tnn.functional.gelu(x)  # both",
        "            x = tnn.functional.silu(block(x))",
    ]


HELPED = (
    HEAD
    + """
class Siamese(nn.Module):
    def __init__(self):
        super().__init__()
        self.tower, self.head = nn.Linear(4, 8), nn.Linear(8, 3)

    def embed(self, view):
        return self.tower(view).detach()  # both views

    def forward(self, x):
        left, right = x.chunk(2, 1)
        return self.head(self.embed(left) - self.embed(right))


def program():
    torch.manual_seed(0)
    return Siamese(), (torch.randn(32, 8), torch.randint(3, (32,))), nn.CrossEntropyLoss()
"""
)


def test_a_call_in_a_helper_of_the_forward_is_changed_there(project: Project) -> None:
    project.write(HELPED)
    options = {"function": "detach", "by": "identity", "method": "embed"}
    patch, made = check(project, Edit(action="rewrite", where=("",), options=options))
    assert changed(patch)[1] == ["        return self.tower(view)  # both views"]
    inputs, labels = made["data"]
    made["loss"](made["model"](inputs), labels).backward()
    assert all(p.grad is not None for p in made["model"].parameters())


OWN_CUT = (
    HEAD
    + """
class Cut(nn.Module):
    def forward(self, x):
        return x.detach()


def program():
    torch.manual_seed(0)
    inputs, labels = torch.randn(32, 8), torch.randint(3, (32,))
    model = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), Cut(), nn.Linear(8, 3))
    return model, (inputs, labels), nn.CrossEntropyLoss()
"""
)


def test_a_module_that_only_detaches_is_exchanged_where_it_is_made(project: Project) -> None:
    project.write(OWN_CUT)
    identity = Part(type="torch.nn.Identity")
    patch, after = check(project, replace("2", part=identity))
    removed, added = changed(patch)
    assert len(removed) == len(added) == 1
    assert added[0] == removed[0].replace("Cut()", "nn.Identity()")
    after["loss"](after["model"](after["data"][0]), after["data"][1]).backward()
    assert after["model"][0].weight.grad is not None
