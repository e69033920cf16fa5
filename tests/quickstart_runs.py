"""Runs a quick start as ``python SCRIPT`` or as ``python -m unvanish run SCRIPT``, in a child of its own.

To import a framework takes longer than its quick start: one process imports what the scripts import,
and each run is a fork of it. It is started by :class:`Runs`, and answers a line with a line.
"""

import ast
import contextlib
import hashlib
import importlib
import json
import os
import random
import runpy
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SCRIPTS = HERE / "quickstarts"


@dataclass(frozen=True)
class Run:
    """What came of one run: where, how it ended, each loss to the bit, and all tensors in its files."""

    folder: Path
    status: int
    output: str
    errors: str
    losses: tuple[str, ...]
    weights: dict[str, str]


class Runs:
    """A process that runs quick starts, each by the name of its file; close it.

    What is to be run bare comes first: from the first watched run on, unvanish is imported there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
        environment |= {"YOLO_OFFLINE": "1", "YOLO_CONFIG_DIR": str(folder), "MPLBACKEND": "agg"}
        environment |= {"TOKENIZERS_PARALLELISM": "false", "KERAS_BACKEND": "torch"}
        environment |= {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hf")}
        environment.pop("PYTEST_CURRENT_TEST", None)  # Ultralytics writes elsewhere where it is set
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__))], env=environment, text=True, cwd=folder,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def run(self, name: str, watched: bool, fault: str = "") -> Run:
        """Run it in a folder of its own, with everything in it that it would download."""
        folder = self.folder / name / (fault or ("watched" if watched else "bare"))
        request = {"name": name, "folder": str(folder), "watched": watched, "fault": fault}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        output, errors = ((folder / f"{one}.txt").read_text() for one in ("stdout", "stderr"))
        return Run(
            folder, answer["status"], output, errors, tuple(answer["losses"]), answer["weights"],
        )  # fmt: skip

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def _serve() -> None:
    """Answer requests until there are no more."""
    answers = os.fdopen(os.dup(1), "w")  # the frameworks print while they are imported
    os.dup2(2, 1)
    for line in sys.stdin:
        answers.write(json.dumps(_answer(**json.loads(line))) + "\n")
        answers.flush()


def _answer(name: str, folder: str, watched: bool, fault: str) -> dict[str, Any]:
    script, here = SCRIPTS / f"{name}.py", Path(folder)
    made = here.parent / "made"
    if not made.exists():
        _import_what_is_imported_by(script)
        made.mkdir(parents=True)
        _in_a_child(lambda: _make(name, made))
    if watched:
        importlib.import_module("unvanish.cli")
        importlib.import_module("unvanish.watching.everything")
    shutil.copytree(made, here)
    status = _in_a_child(lambda: _train(script, here, watched, fault))
    told = here / "told.json"
    answer = json.loads(told.read_text()) if told.exists() else {"losses": [], "weights": {}}
    return {**answer, "status": status}


def _in_a_child(do: Callable[[], int]) -> int:
    """What it returned there; 1 where it raised."""
    child = os.fork()
    if not child:
        status = 1
        try:
            status = do()
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _import_what_is_imported_by(script: Path) -> None:
    parts = ast.parse(script.read_text()).body
    asked: list[ast.stmt] = [one for one in parts if isinstance(one, ast.Import | ast.ImportFrom)]
    exec(compile(ast.Module(asked, []), str(script), "exec"), {})


def _make(name: str, folder: Path) -> int:
    _settle(name, folder)
    importlib.import_module("quickstart_data").MAKERS[name](folder)
    return 0


def _train(script: Path, folder: Path, watched: bool, fault: str) -> int:
    """Run the script here, and write down what came of it."""
    os.chdir(folder)
    for number, file in ((1, "stdout.txt"), (2, "stderr.txt")):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), number)
    _settle(script.stem, folder)
    with _losses() as losses:
        if fault:
            importlib.import_module("quickstart_faults").put(fault, script.stem)
        status = _run(script, watched)
    weights = {} if fault else dict(_tensors(folder, folder.parent / "made"))
    (folder / "told.json").write_text(json.dumps({"losses": losses, "weights": weights}))
    return status


def _settle(name: str, folder: Path) -> None:
    """Seeds, as most quick starts set none, and where each framework finds what lies here."""
    import numpy as np
    import torch

    if name == "ultralytics_train":
        from ultralytics.utils import DEFAULT_CFG, DEFAULT_CFG_DICT

        # Pictures of 64 x 64 are not scaled up, no diagrams, no processes to load a few files.
        for key, value in (("imgsz", 64), ("plots", False), ("workers", 0)):
            setattr(DEFAULT_CFG, key, value)
            DEFAULT_CFG_DICT[key] = value
    if name in ("transformers_trainer", "peft_lora", "trl_sft"):
        from transformers import TrainingArguments

        TrainingArguments.__post_init__ = _on_the_cpu(TrainingArguments.__post_init__)
    if name == "keras_engineers":
        from keras.src.datasets import mnist

        mnist.get_file = lambda *_, **__: str(folder / "mnist.npz")
    if name == "timm_finetune":
        from huggingface_hub import constants

        constants.HF_HUB_CACHE = str(folder / "hub")
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)


def _on_the_cpu(post_init: Callable[[Any], None]) -> Callable[[Any], None]:
    """Without an accelerator bf16 is refused to who does not say so; with one, sums differ."""

    def on_the_cpu(self: Any) -> None:
        self.use_cpu = True
        post_init(self)

    return on_the_cpu


def _run(script: Path, watched: bool) -> int:
    """As Python does it: the script itself, or the module unvanish with the script as argument."""
    sys.argv = [str(script)]
    try:
        if not watched:
            sys.path.insert(0, str(script.parent))
            runpy.run_path(str(script), run_name="__main__")
        else:
            sys.argv = ["unvanish", "run", str(script)]
            runpy.run_module("unvanish", run_name="__main__", alter_sys=True)
    except SystemExit as leaving:
        return int(leaving.code or 0)
    return 0


@contextlib.contextmanager
def _losses() -> Iterator[list[str]]:
    """Every scalar that a backward pass begins at, in hexadecimal."""
    import torch

    original, seen = torch.autograd.backward, list[str]()

    def backward(tensors: Any, *arguments: Any, **options: Any) -> Any:
        roots = (tensors,) if isinstance(tensors, torch.Tensor) else tuple(tensors)
        seen.extend(root.item().hex() for root in roots if root.numel() == 1)
        return original(roots, *arguments, **options)

    torch.autograd.backward = backward
    yield seen


def _tensors(folder: Path, made: Path) -> Iterator[tuple[str, str]]:
    """The digest of every tensor in every file of weights that the script has written."""
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder)
        if path.is_file() and not (made / place).exists():
            for name, value in _read(path):
                yield f"{place}:{name}", hashlib.sha256(value).hexdigest()


def _read(path: Path) -> Iterator[tuple[str, bytes]]:
    if path.suffix in (".pt", ".pth", ".ckpt"):
        import torch

        yield from _inside("", torch.load(path, map_location="cpu", weights_only=False))
    elif path.suffix == ".safetensors":
        yield "", path.read_bytes()
    elif path.name == "final_model.keras":
        import keras

        loaded = keras.saving.load_model(path)
        for number, value in enumerate(loaded.get_weights()):
            yield str(number), value.tobytes()


def _inside(name: str, value: Any) -> Iterator[tuple[str, bytes]]:
    import torch

    if isinstance(value, torch.nn.Module):
        value = value.state_dict()
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _inside(f"{name}.{key}", inner)
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from _inside(f"{name}.{number}", inner)
    elif isinstance(value, torch.Tensor):
        yield name, value.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


if __name__ == "__main__":
    _serve()
