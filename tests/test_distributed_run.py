"""torchrun ... -m unvanish run: a script unchanged, its ranks killed, raising, or with a bad number."""

import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

import unvanish
from unvanish.recording.summarising import summarise
from unvanish.report.recorded import verdict as said_of

LIMIT = 400
"""Seconds until a training counts as hanging: on a crowded machine one takes minutes to begin."""
pytestmark = pytest.mark.timeout(3 * LIMIT)
SCRIPT = Path(__file__).with_name("distributed_script.py")


def torchrun(
    processes: int, folder: Path, what: str, at: int, watched: bool = True
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--max-restarts", "0"]
    command += ["--nproc-per-node", str(processes)]
    if watched:
        command += ["-m", "unvanish", "run", "--to", "seen"]
    command += [str(SCRIPT), what, str(at)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT
    )


def spoken(done: subprocess.CompletedProcess[str]) -> list[str]:
    # Several processes write to one pipe: a line of another may end where one of ours begins.
    return re.findall(r"unvanish: .*", done.stderr)


def test_the_first_one_speaks_for_all(tmp_path: Path) -> None:
    done = torchrun(2, tmp_path, "none", 0)
    assert done.returncode == 0, done.stderr
    assert sorted(re.findall(r"end of rank \d", done.stdout)) == ["end of rank 0", "end of rank 1"]
    verdict, recorded, look = spoken(done)
    assert "40 steps, no alarm" in verdict
    assert "seen/recording.sqlite" in recorded
    assert "unvanish show seen" in look
    with unvanish.Recording.open(tmp_path / "seen") as joined:
        assert len(joined.ranks) == 2
        assert len(joined.steps) == 40


def test_what_only_one_has_met_it_says_itself(tmp_path: Path) -> None:
    done = torchrun(2, tmp_path, "sick-last", 0)
    assert done.returncode == 0, done.stderr
    (own,) = [line for line in spoken(done) if "rank 1: " in line]
    assert "nonfinite" in own
    assert sum("recorded in" in line for line in spoken(done)) == 1


@pytest.mark.parametrize("what", ["killed", "raises"])
def test_the_others_end_as_they_would(what: str, tmp_path: Path) -> None:
    processes, at = 4 if what == "killed" else 2, random.randrange(40)
    said = f"at step {at}"
    for watched in (False, True):
        done = torchrun(processes, tmp_path, what, at, watched)  # it hangs: the timeout raises
        assert done.returncode == 1, (said, done.stderr)
        # Which of them torchrun calls the root cause depends on how many have ended when it looks.
        ended = dict(re.findall(r"rank +: (\d+) .*\n +exitcode +: (-?\d+)", done.stderr))
        if what == "killed":
            assert ended.pop("1") == "9", (said, watched)
        # By their error; by torchrun's signal, where another's end was seen before their own; or by
        # an abort of torch's, which loses its peers. Not one of them as if nothing had happened.
        assert "0" not in ended.values(), (said, watched)
        assert "end of rank" not in done.stdout, (said, watched)
        if what == "raises":  # by the hook that torch has set, which says the rank
            assert "[rank1]: ValueError: this rank gives up" in done.stderr, (said, watched)
    if at > 0:
        with unvanish.Recording.open(tmp_path / "seen") as joined:
            raised = [event for event in joined.events if event.name == "training-raised"]
            assert not [event for event in joined.events if event.kind == "alarm"], said
            summary = summarise(joined)
            assert 1 in {ending.rank for ending in summary.endings}, said
            severity, verdict = said_of(summary)
            assert severity == "unknown", said
            assert verdict.startswith("Ended early: rank "), said
            if what == "raises":
                assert any("this rank gives up" in event.detail for event in raised), said
