"""Each process in a network of its own: one is killed, or its link goes down; all else as without us."""

import random
import re
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

import unvanish

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from watch_namespaces import Namespaces, existing, why_not

SCRIPT = Path(__file__).with_name("distributed_script.py")
LIMIT = 200
"""Seconds until a training counts as hanging: on a crowded machine one takes long to begin."""
ABORTED = -signal.SIGABRT
"""How torch now and then ends a process whose connections are gone, behind the error that it printed:
with us or without, as its threads meet. Which it was is chance, and counts as the same."""
REASON = why_not()
pytestmark = [
    pytest.mark.skipif(REASON is not None, reason=str(REASON)),
    pytest.mark.timeout(3 * LIMIT),
]


def ends(ranks: int, folder: Path, what: str, at: int, watched: bool) -> list[tuple[int, str]]:
    """How each process ended: its exit status, and the last error that it printed."""
    files = [(folder / f"said-{watched}-{rank}").open("w+") for rank in range(ranks)]
    ours = ["-m", "unvanish", "run", "--to", str(folder / "seen")] if watched else []
    with Namespaces(ranks) as network:
        command = [sys.executable, *ours, str(SCRIPT), what, str(at)]
        started = network.start(command, stderr=files, stdout=files)
        statuses = [process.wait(LIMIT) for process in started]  # it hangs: this raises
    found: list[tuple[int, str]] = []
    for rank, (status, file) in enumerate(zip(statuses, files, strict=True)):
        file.seek(0)
        errors = re.findall(rf"^\[rank{rank}\]: (\w*Error\b.*)", file.read(), re.MULTILINE)
        found.append((1 if status == ABORTED else status, errors[-1] if errors else ""))
        file.close()
    return found


@pytest.mark.parametrize(("what", "ranks"), [("kill -9", 4), ("link", 2)])
def test_the_others_end_as_they_would(what: str, ranks: int, tmp_path: Path) -> None:
    at = random.randrange(1, 38)
    plain, watched = (ends(ranks, tmp_path, what, at, watched) for watched in (False, True))
    said = f"at step {at}: {plain}, watched {watched}"
    assert [status for status, _ in plain] == [status for status, _ in watched], said
    assert plain[1][0] == (-9 if what == "kill -9" else 1), said
    for rank, both in enumerate(zip(plain, watched, strict=True)):
        for status, error in both:
            if (rank, what) == (1, "kill -9"):
                assert error == "", said
            else:
                # By a timeout, or because a neighbour has closed: which comes first is chance.
                assert status == 1, said
                assert error.startswith(("RuntimeError", "DistBackendError")), said
                assert "gloo" in error.lower(), said
    with unvanish.Recording.open(tmp_path / "seen") as joined:
        assert len(joined.ranks) == ranks
        raised = [event for event in joined.events if event.name == "training-raised"]
        assert raised, said
        assert not [event for event in joined.events if event.kind == "alarm"], said
        finished = [rank.finished for rank in joined.ranks]
        assert finished == [rank != 1 or what == "link" for rank in range(ranks)], said


def test_nothing_of_it_is_left() -> None:
    network = Namespaces(2)

    def fail() -> None:
        with network:
            started.extend(network.start(["sleep", "600"]))
            assert {network.name(0), network.name(1), network.name("hub")} <= set(existing())
            raise KeyboardInterrupt

    started: list[Any] = []
    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [one.returncode for one in started] == [-signal.SIGTERM] * 2
    assert not [name for name in existing() if name.startswith(network.name(""))]


def test_who_may_not_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert why_not() == "network namespaces cannot be made here: run this as root."
