"""The process that trains and treats, so that neither can hold up the pages: lines in, lines out.

Each line in is a job, each line out a message of it, as JSON; ``{"end": true}`` is the last one. It
ends when its input does. Nobody stops a job: who no longer wants it ends the process.
"""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any, TextIO

import torch

from unvanish.errors import UnvanishError
from unvanish.lab.programs import examined
from unvanish.lab.settings import Settings
from unvanish.lab.training import Training, cure
from unvanish.recording.layout import to_json
from unvanish.surgery import Edit


def work(jobs: Iterator[str], out: TextIO) -> None:
    """Do every job that comes in."""
    for line in jobs:
        job = json.loads(line)
        try:
            for message in _done(job, out):
                _write(out, message)
        except UnvanishError as error:
            _write(out, {"failed": str(error)})
        except Exception as error:
            _write(out, {"failed": f"{type(error).__name__}: {error}", "fault": True})
        _write(out, {"end": True})


def _done(job: Mapping[str, Any], out: TextIO) -> Iterator[dict[str, Any]]:
    if job["kind"] == "program":
        yield from examined(job["program"], job["language"])
        return
    settings = Settings(**job["settings"])
    edits = tuple(Edit.from_json(edit) for edit in job["edits"])
    if job["kind"] == "train":
        yield from Training(settings, edits).run()
    elif job["kind"] == "cure":

        def tell(doing: str, seconds: float) -> None:
            _write(out, {"doing": doing, "seconds": round(seconds, 1)})

        yield {"result": cure(settings, tell)}


def _write(out: TextIO, message: Mapping[str, Any]) -> None:
    out.write(to_json(message) + "\n")
    out.flush()


def main() -> None:
    """Read jobs from standard input until it ends."""
    # What a library prints must not come between the messages.
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    torch.set_num_threads(1)
    work(iter(sys.stdin.readline, ""), out)


if __name__ == "__main__":
    main()
