"""What a patch leaves as it was: line ends, tabs, encodings, and every line it has no business in."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from test_patch import CRITICAL, GELU, HEAD, STACK, Project, changed, check, project, replace
from torch import nn

from unvanish.cli import run
from unvanish.errors import BadInput
from unvanish.surgery import Edit, Part
from unvanish.treatment.patch import make_patch

__all__ = ["project"]
ROOT = Path(__file__).resolve().parents[1]
ODD = tuple(str(index) for index in range(1, 24, 2))


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(lambda text: text.replace("\n", "\r\n").encode(), id="crlf"),
        pytest.param(lambda text: text.replace("    ", "\t").encode(), id="tabs"),
        pytest.param(lambda text: text.rstrip("\n").encode(), id="no-newline-at-the-end"),
        pytest.param(lambda text: b"\xef\xbb\xbf" + text.encode(), id="byte-order-mark"),
        pytest.param(
            lambda text: ("# -*- coding: latin-1 -*-\n# caf\xe9\n" + text).encode("latin-1"),
            id="latin-1",
        ),
        pytest.param(lambda text: ("# \u4f60\u597d\n" + text).encode(), id="wide-characters"),
        pytest.param(lambda text: text.replace("def", "\x0c\ndef").encode(), id="form-feed"),
        pytest.param(
            lambda text: text.replace("= []", "= []  # \u2028 \x1c").encode(),
            id="odd-line-separators",
        ),
    ],
)
def test_every_other_byte_stays(project: Project, form: Callable[[str], bytes]) -> None:
    written = form(STACK)
    path = project.write(written)
    check(project, replace(*ODD))
    assert path.read_bytes() == written.replace(b"nn.Sigmoid()", b"nn.GELU()")
    project.write(written)
    patch, _ = check(project, CRITICAL)
    unit, end = (b"\t" if b"\t" in written else b"    "), b"\r\n" if b"\r" in written else b"\n"
    expected = written.replace(
        unit + b"return model, (inputs, labels), loss",
        unit
        + b"data = (inputs, labels)"
        + end
        + unit
        + b"unvanish.init.critical_(model, data, loss)"
        + end
        + unit
        + b"return model, data, loss",
    ).replace(b"import torch" + end, b"import torch" + end + b"import unvanish" + end)
    assert path.read_bytes() == expected
    assert patch.cannot == ()


def test_a_folder_of_the_repository_is_found(project: Project) -> None:
    project.write(STACK, "deep/down/train.py")
    sys.path.insert(0, str(project.root / "deep" / "down"))
    program = project.load("deep/down/train.py").program
    patch = make_patch(program()[0], [replace(*ODD)], program)
    assert patch.root == project.root
    assert "--- a/deep/down/train.py\n+++ b/deep/down/train.py\n" in patch.diff
    inner = make_patch(program()[0], [replace(*ODD)], program, root=project.root / "deep")
    assert "--- a/down/train.py\n" in inner.diff


def test_a_name_with_a_space_and_an_accent(project: Project) -> None:
    path = project.write(STACK, "my n\u00e9t/train it.py")
    program = project.load("my n\u00e9t/train it.py").program
    project.apply(make_patch(program()[0], [replace(*ODD)], program))
    assert path.read_text() == STACK.replace("Sigmoid", "GELU")
    path.write_text(STACK)
    with pytest.raises(BadInput, match="not inside"):
        make_patch(program()[0], [replace(*ODD)], program, root=ROOT)


VARIANTS = {
    "mapping": STACK.replace(
        "return model, (inputs, labels), loss",
        'return {"model": model, "data": (inputs, labels), "loss": loss}',
    ),
    "named mapping": STACK.replace(
        "return model, (inputs, labels), loss",
        'made = {"model": model, "data": (inputs, labels), "loss": loss}\n    return made',
    ),
    "dict call": STACK.replace(
        "return model, (inputs, labels), loss",
        "return dict(model=model, data=(inputs, labels), loss=loss)",
    ),
    "whole": STACK.replace("def program", "def build") + "\n\ndef program():\n    return build()\n",
    "nothing named": HEAD
    + """
def program():
    torch.manual_seed(0)
    return (
        nn.Sequential(nn.Linear(8, 8), nn.Sigmoid(), nn.Linear(8, 3)),
        (torch.randn(16, 8),
         torch.randint(3, (16,))),
        nn.CrossEntropyLoss(),
    )
""",
    "loader": STACK.replace("(inputs, labels), loss", "[(inputs, labels)] * 2, loss"),
    "inside with": STACK.replace("    return", "    with torch.no_grad():\n        return"),
    "decorated": STACK.replace(
        "def program",
        "import functools\n\ndef twice(f):\n    @functools.wraps(f)\n    def inner():\n"
        "        return f()\n    return inner\n\n\n@twice\ndef program",
    ),
    "imports inside": STACK.replace(HEAD, "import torch\n").replace(
        "    torch.manual_seed(0)", "    from torch import nn\n\n    torch.manual_seed(0)"
    ),
    "global model": HEAD
    + """
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(8, 8), nn.Sigmoid(), nn.Linear(8, 3))
batch = torch.randn(16, 8), torch.randint(3, (16,))


def program():
    return model, batch, nn.CrossEntropyLoss()


if __name__ == "__main__":
    program()
""",
}


@pytest.mark.parametrize("text", VARIANTS.values(), ids=VARIANTS)
def test_programs_of_many_forms(project: Project, text: str) -> None:
    project.write(text)
    check(project, CRITICAL)
    project.write(text)
    check(project, replace("1"), Edit(action="scale", where=("0",), options={"factor": 2.0}))


def test_a_factory_that_is_passed_along_is_followed_to_its_call(project: Project) -> None:
    text = STACK.replace("def program():", "def build(act, depth):").replace(
        "nn.Sigmoid()", "act()"
    )
    project.write(text + "\n\ndef program():\n    return build(nn.Sigmoid, 12)\n")
    patch, _ = check(project, replace(*ODD))
    assert changed(patch)[0] == ["        layers += [nn.Linear(8, 8), act()]  # twelve of them"]


def test_what_also_makes_modules_elsewhere_stays(project: Project) -> None:
    text = STACK.replace("def program():", "def build():").replace(
        "    return model, (inputs, labels), loss", "    return model"
    )
    project.write(
        text
        + """

def program():
    teacher, student = build(), build()
    inputs = torch.randn(4, 8)
    return student, (inputs, teacher(inputs).detach()), nn.MSELoss()
"""
    )
    patch, _ = check(project, replace(*ODD))
    assert changed(patch)[0] == []
    assert changed(patch)[1][0] == "    for index in range(1, 24, 2):"


def test_no_source_gives_the_script_alone() -> None:
    space: dict[str, object] = {}
    exec(compile(STACK, "<stdin>", "exec"), space)
    program = space["program"]
    patch = make_patch(program()[0], [replace(*ODD)], program)  # type: ignore[operator]
    assert patch.diff == ""
    assert "script" in patch.cannot[0]
    compile(patch.script, "cure.py", "exec")
    assert make_patch(nn.Sequential(nn.Sigmoid()), [replace("0")]).diff == ""
    assert make_patch(nn.Sequential(nn.Sigmoid()), []).cannot == ()


def test_a_library_model_is_treated_by_lines_and_by_the_script(project: Project) -> None:
    project.write(
        HEAD
        + """
def program():
    torch.manual_seed(0)
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
    return model, (torch.randn(4, 5, 8), torch.randn(4, 5, 8)), nn.MSELoss()
"""
    )
    edit = Edit(action="insert", where=("linear1",), part=GELU)
    patch, _ = check(project, edit)
    assert "unvanish.surgery.apply(model, [edit])" in patch.diff
    (project.root / "cure.py").write_text(patch.script)
    done = subprocess.run(
        [sys.executable, "cure.py"], cwd=project.root, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "GELU" in done.stdout
    assert len(patch.script.splitlines()) < 30


def test_patching_disturbs_nothing(project: Project) -> None:
    path = project.write(STACK)
    program = project.load().program
    model = program()[0]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(3)
    state, profile = torch.get_rng_state(), sys.getprofile()
    make_patch(model, [replace(*ODD), CRITICAL], program)
    assert torch.equal(torch.get_rng_state(), state)
    assert sys.getprofile() is profile
    assert path.read_text() == STACK
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_bad_input_is_a_sentence() -> None:
    with pytest.raises(BadInput, match="model must be"):
        make_patch("net", [])  # type: ignore[arg-type]


def diagnosed(project: Project) -> int:
    project.forget()
    return run(["diagnose", f"{project.root / 'train.py'}:program"])


MISSING = (
    HEAD
    + """
def program():
    torch.manual_seed(0)
    inputs = torch.randn(64, 8)
    batch = inputs, (inputs @ torch.randn(8, 3)).argmax(1)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))
    optimizer = torch.optim.Adam(model[2].parameters(), 1e-2)
    return model, batch, nn.CrossEntropyLoss(), optimizer
"""
)
FUNCTIONAL = (
    HEAD
    + """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(32, 32) for _ in range(20))
        for layer in self.layers:
            nn.init.kaiming_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.head = nn.Linear(32, 3)

    def forward(self, x):
        for layer in self.layers:
            x = torch.sigmoid(layer(x))
        return self.head(x)


def program():
    torch.manual_seed(0)
    inputs = torch.randn(64, 32)
    return Net(), (inputs, (inputs @ torch.randn(32, 3)).argmax(1)), nn.CrossEntropyLoss()
"""
)


@pytest.mark.parametrize(
    ("text", "edits"),
    [
        pytest.param((ROOT / "examples" / "deep_sigmoid.py").read_text(), [CRITICAL], id="values"),
        pytest.param(
            FUNCTIONAL,
            [
                Edit(
                    action="rewrite",
                    where=("",),
                    part=Part(type="torch.nn.ReLU"),
                    options={"function": "sigmoid"},
                )
            ],
            id="function",
        ),
        pytest.param(
            MISSING,
            [Edit(action="optimizer", where=("0.weight", "0.bias"))],
            id="optimizer",
        ),
    ],
)
def test_after_the_patch_the_program_is_healthy(
    project: Project, text: str, edits: list[Edit]
) -> None:
    project.write(text)
    assert diagnosed(project) == 1
    project.apply(project.patch(*edits))
    assert diagnosed(project) == 0


def test_one_activation_in_many_places_is_changed_once(project: Project) -> None:
    text = STACK.replace("nn.Sigmoid()", "act").replace(
        "layers = []", "act = nn.Sigmoid()\n    layers = []"
    )
    project.write(text)
    patch, _ = check(project, replace("1"))  # surgery exchanges it wherever it stands
    assert changed(patch) == (["    act = nn.Sigmoid()"], ["    act = nn.GELU()"])


def test_a_file_that_changed_after_it_was_loaded_is_left_alone(project: Project) -> None:
    path = project.write(STACK)
    program = project.load().program
    path.write_text("# one line more\n" + STACK.replace("12", "13"))
    patch = make_patch(program()[0], [replace(*ODD), CRITICAL], program)
    assert patch.diff == ""
    assert all("script" in sentence for sentence in patch.cannot)


def test_forwards_are_changed_without_a_program(project: Project) -> None:
    project.write(FUNCTIONAL)
    model = project.load().program()[0]
    edit = Edit(action="rewrite", where=("",), part=GELU, options={"function": "sigmoid"})
    patch = make_patch(model, [edit])
    assert changed(patch)[1] == ["            x = nn.functional.gelu(layer(x))"]


def test_a_part_without_a_function_becomes_a_child(project: Project) -> None:
    project.write(FUNCTIONAL)
    part = Part(type="torch.nn.PReLU")
    edit = Edit(action="rewrite", where=("",), part=part, options={"function": "sigmoid"})
    patch, _ = check(project, edit)
    assert changed(patch)[1] == [
        "        self.prelu = nn.PReLU()",
        "            x = self.prelu(layer(x))",
    ]


def test_a_compiled_model_is_named_as_what_it_is(project: Project) -> None:
    text = STACK.replace(
        "    loss =", "    model = torch.compile(model, backend='eager')\n    loss ="
    )
    project.write(text)
    patch = project.patch(replace(*ODD))
    assert changed(patch)[1] == ["        layers += [nn.Linear(8, 8), nn.GELU()]  # twelve of them"]
    assert "torch.compile" in project.patch(replace("1")).cannot[0]


def test_a_model_that_the_program_trains_is_changed_after_it(project: Project) -> None:
    train = (
        "    optimizer = torch.optim.SGD(model.parameters(), 0.1)\n"
        "    loss(model(inputs), labels).backward()\n    optimizer.step()\n"
        "    optimizer.zero_grad()\n"
    )
    project.write(STACK.replace("    return", train + "    return"))
    patch, _ = check(project, replace(*ODD))
    assert changed(patch)[0] == []
