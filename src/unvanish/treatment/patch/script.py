"""``cure.py``: the same edits applied to the model that the program makes, without touching it."""

import inspect
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from unvanish.surgery.edits import LOOP, Edit
from unvanish.treatment.patch.births import own

_SCRIPT = '''\
"""The cure of {title}: cured(model, batch, loss) is a treated copy."""
import json

from unvanish import surgery

EDITS = [surgery.Edit.from_json(edit) for edit in json.loads(r"""{edits}""")]


def cured(model, batch=None, loss=None, forward=None):
    return surgery.apply(model, EDITS, batch=batch, loss=loss, forward=forward{seed})
'''
_RUN = """

if __name__ == "__main__":
    from unvanish.batches import take_batches
    from unvanish.cli.target import load_target

    made = load_target({target!r})
    batch = take_batches(made["data"], 1)[0]
    print(cured(made["model"], batch, made.get("loss"), made.get("forward")))
"""


def write_script(
    edits: Iterable[Edit], program: Callable[[], Any] | None, root: Path, seed: int
) -> str:
    """The script. Edits of the optimizer and the step are in it and change no model."""
    kept = [edit for edit in edits if edit.action not in LOOP and edit.action != "advice"]
    listed = ",\n  ".join(json.dumps(edit.to_json()) for edit in kept)
    target = target_of(program, root)
    text = _SCRIPT.format(
        title=target or "the model",
        edits=f"[{listed}]",
        seed=f", seed={seed}" if seed else "",
    )
    return text + (_RUN.format(target=target) if target is not None else "")


def target_of(program: Callable[[], Any] | None, root: Path) -> str | None:
    """The program as the command line names it, from ``root``; None where it has no file."""
    code = getattr(inspect.unwrap(program), "__code__", None) if program is not None else None
    name = getattr(program, "__qualname__", "<")
    if code is None or not name.isidentifier() or not own(code.co_filename):
        return None
    path = Path(code.co_filename).resolve()
    return f"{path.relative_to(root).as_posix() if path.is_relative_to(root) else path}:{name}"
