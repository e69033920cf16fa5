"""unvanish run: a script runs as it would without us, and what trains in it is watched."""

import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

import unvanish

HEAD = """
import sys, torch
from torch import nn
torch.manual_seed(0)
"""
TRAIN = """
def train(net, steps=4, width=8):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(torch.randn(16, width)), torch.randint(3, (16,)))
        loss.backward()
        optimizer.step()
    return float(loss)
"""
NET = "net = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))\n"


def script(tmp_path: Path, body: str) -> Path:
    path = tmp_path / "script.py"
    path.write_text(HEAD + TRAIN + textwrap.dedent(body))
    return path


def call(tmp_path: Path, *arguments: str, watched: bool = True) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, *(["-m", "unvanish", "run"] if watched else []), *arguments]
    return subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, timeout=200)


def test_the_output_is_the_scripts_own_and_the_verdict_stands_apart(tmp_path: Path) -> None:
    path = script(tmp_path, NET + "print(train(net), sys.argv, __name__, __file__)")
    plain = call(tmp_path, str(path), "--epochs", "3", "-v", watched=False)
    watched = call(tmp_path, str(path), "--epochs", "3", "-v")
    assert watched.stdout == plain.stdout
    assert watched.returncode == 0
    assert "look with: unvanish show runs/script" in watched.stderr
    recording = unvanish.Recording.open(tmp_path / "runs" / "script")
    seen = f"the gradient arrives (deep look at step {int(recording.looks[-1])})."
    assert f"4 steps, no alarm: {seen}" in watched.stderr
    assert list(recording.steps) == [0, 1, 2, 3]
    assert list(recording.tensors) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert recording.finished


def test_a_sick_training_is_named(tmp_path: Path) -> None:
    body = """
    layers = []
    for _ in range(12):
        layers += [nn.Linear(8, 8), nn.Sigmoid()]
    train(nn.Sequential(*layers, nn.Linear(8, 3)), steps=20)
    """
    done = call(tmp_path, "--to", "here", str(script(tmp_path, body)))
    assert done.returncode == 0
    assert "UV301 depth-decay" in done.stderr
    assert unvanish.Recording.open(tmp_path / "here").events


def test_two_trainings_have_a_recording_each(tmp_path: Path) -> None:
    body = """
    one = nn.Linear(8, 3); two = nn.Sequential(nn.Linear(8, 3))
    train(one); train(two, steps=2)
    """
    done = call(tmp_path, str(script(tmp_path, body)))
    assert done.stderr.count("recorded in") == 2
    assert len(unvanish.Recording.open(tmp_path / "runs" / "script").steps) == 4
    assert len(unvanish.Recording.open(tmp_path / "runs" / "script" / "2").steps) == 2


@pytest.mark.parametrize(
    ("ending", "status", "said"),
    [
        ("sys.exit(7)", 7, ""),
        ("sys.exit('no more')", 1, "no more"),
        ("raise ValueError('broken data')", 1, "ValueError: broken data"),
        ("raise SystemExit", 0, ""),
    ],
)
def test_the_way_a_script_ends_is_its_own(
    ending: str, status: int, said: str, tmp_path: Path
) -> None:
    path = script(tmp_path, NET + "train(net)\n" + ending)
    done = call(tmp_path, str(path))
    assert done.returncode == status  # what python itself gives
    assert said in done.stderr
    assert "4 steps" in done.stderr
    assert "runpy" not in done.stderr
    assert len(unvanish.Recording.open(tmp_path / "runs" / "script").steps) == 4


def test_ctrl_c_passes_through(tmp_path: Path) -> None:
    path = script(
        tmp_path, NET + "train(net)\nprint('ready', flush=True)\nimport time; time.sleep(100)"
    )
    running = subprocess.Popen(
        [sys.executable, "-m", "unvanish", "run", str(path)],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A run of tests in the background ignores Ctrl-C, and its children would, too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert running.stdout is not None
    assert running.stdout.readline() == "ready\n"
    time.sleep(0.2)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "4 steps" in errors


def test_classes_of_the_script_are_those_of_main(tmp_path: Path) -> None:
    body = """
    import io
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(8, 3)
        def forward(self, x):
            return self.layer(x)
    class Rows(torch.utils.data.Dataset):
        def __len__(self): return 8
        def __getitem__(self, i): return torch.full((8,), float(i))
    if __name__ == "__main__":
        net = Net()
        train(net)
        stream = io.BytesIO()
        torch.save(net, stream)
        stream.seek(0)
        print(type(torch.load(stream, weights_only=False)) is Net)
        print(sum(len(b) for b in torch.utils.data.DataLoader(Rows(), 4, num_workers=1)))
    """
    done = call(tmp_path, str(script(tmp_path, body)))
    assert done.stdout.split() == ["True", "8"], done.stderr


def test_a_module_runs_too(tmp_path: Path) -> None:
    path = script(tmp_path, NET + "print(train(net), sys.argv[1:])")
    done = call(tmp_path, "-m", path.stem, "--x")
    assert done.returncode == 0
    assert "['--x']" in done.stdout
    assert "4 steps" in done.stderr


def test_nothing_to_watch_is_said(tmp_path: Path) -> None:
    done = call(tmp_path, str(script(tmp_path, "print(1)")))
    assert done.stdout == "1\n"
    assert "no optimizer stepped" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("nowhere.py",), "no file nowhere.py"), (("--guard", "hope", "x.py"), "hope")],
)
def test_wrong_usage_is_one_line(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text("")
    done = call(tmp_path, *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_the_owner_of_parameters_is_found() -> None:
    import torch
    from torch import nn

    from unvanish.watching.everything import owner_of

    inner = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    outer = nn.ModuleDict({"body": inner, "head": nn.Linear(2, 1)})
    assert owner_of(torch.optim.SGD(inner.parameters(), lr=0.1)) is inner
    assert owner_of(torch.optim.SGD(outer.parameters(), lr=0.1)) is outer
    apart = [nn.Linear(2, 2), nn.Conv1d(1, 1, 1)]
    both = owner_of(torch.optim.SGD([p for one in apart for p in one.parameters()], lr=0.1))
    assert {name for name, _ in both.named_parameters()} == {
        "linear.weight", "linear.bias", "conv1d.weight", "conv1d.bias",
    }  # fmt: skip
