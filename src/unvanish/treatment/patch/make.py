"""From edits to a patch: each edit where the source can take it best, the rest said."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from torch import nn

from unvanish.batches import check_arguments
from unvanish.errors import BadInput, UnvanishError
from unvanish.probe.compiled import unwrapped
from unvanish.surgery.edits import Edit
from unvanish.treatment.patch.record import Patch
from unvanish.treatment.patch.script import write_script
from unvanish.treatment.patch.source import file_of
from unvanish.treatment.patch.writing import Writing


def make_patch(
    model: nn.Module,
    edits: Iterable[Edit],
    program: Callable[[], Any] | None = None,
    *,
    root: str | Path | None = None,
    seed: int = 0,
) -> Patch:
    """The edits as a unified diff of the user's source, and as a script.

    The program runs once more, watched, on a random state of its own: what each call in its source
    makes is seen, not guessed. Nothing is written to any file, and the model is not touched.

    A call is changed where all that it makes is to change; otherwise lines follow below the model
    in the program. An edit that comes after such a line becomes lines itself: the order is kept.

    Args:
        model: the untreated model, as the program makes it.
        edits: as :func:`unvanish.surgery.apply` takes them.
        program: the function without arguments that returns ``(model, data, loss)``, with an
            optimizer, or a mapping; ``None``: only forwards of the model's classes can be changed.
        root: the folder that the paths of the diff start from; by default that of the git
            repository around the program, or what its files have in common.
        seed: of the edits that draw random numbers.

    Raises:
        BadInput: ``model`` is no module, or a changed file lies outside of ``root``.
    """
    check_arguments(model, None, lambda: None, seed)
    edits = tuple(edits)
    writing = Writing(unwrapped(model)[0], seed)
    try:
        writing.open(program)
        for edit in grouped(edits):
            writing.write(edit)
        writing.close()
    except UnvanishError as error:
        writing.give_up(str(error))
    changed = [source for source, _ in writing.files.values() if source.after != source.before]
    home = _root(root, [source.path for source in changed], program)
    return Patch(
        diff="".join(source.diff(home) for source in changed),
        script=write_script(edits, program, home, seed),
        cannot=tuple(writing.cannot),
        root=home,
    )


def grouped(edits: Iterable[Edit]) -> Iterator[tuple[Edit, ...]]:
    """Neighbours of one action together, for those that one call in the source may unite."""
    for action, group in groupby(edits, key=lambda edit: edit.action):
        if action == "replace":
            yield tuple(group)
            continue
        for _, alike in groupby(group, key=lambda e: (e.part, dict(e.options))):
            same = tuple(alike)
            if action in ("rewrite", "insert", "set", "scale", "fill"):
                where = tuple(name for edit in same for name in edit.where)
                yield (replace(same[0], where=where),)
            elif same[0].options.get("projection") == "none" and _single(same):
                yield same
            else:
                yield from ((edit,) for edit in same)


def _single(edits: Sequence[Edit]) -> bool:
    return all(len(edit.where) == 1 for edit in edits)


def _root(
    given: str | Path | None, files: Sequence[Path], program: Callable[[], Any] | None
) -> Path:
    """The folder that the diff's paths start from."""
    if given is not None:
        folder = Path(given).resolve()
        outside = [path for path in files if not path.is_relative_to(folder)]
        if outside:
            raise BadInput(f"{outside[0]} is not inside of root {folder}: pass a folder above it.")
        return folder
    own = file_of(program) if program is not None else None
    known = [*files, *([own] if own is not None else [])]
    if not known:
        return Path.cwd()
    for folder in known[0].parents:
        if (folder / ".git").exists() and all(path.is_relative_to(folder) for path in known):
            return folder
    return Path(os.path.commonpath([path.parent for path in known]))
