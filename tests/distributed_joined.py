"""What tests of several processes share: starting them, and their figures beside those of one."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

import unvanish
from unvanish.recording import STATISTICS


def torchrun(processes: int, *command: str | Path) -> str:
    """Run a script of this folder, or ``-m`` something, in so many processes; what went to stderr."""
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--max-restarts", "0"]
    start += ["--nproc-per-node", str(processes), *map(str, command)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(start, capture_output=True, text=True, timeout=250, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stderr


def assert_same(joined: unvanish.Recording, one: unvanish.Recording) -> None:
    """Every statistic of every tensor, to 1e-5."""
    assert set(joined.tensors) == set(one.tensors)
    for statistic in STATISTICS:
        for tensor in one.tensors:
            steps, values = joined.values(statistic, tensor)
            at, truth = one.values(statistic, tensor)
            assert len(steps) > 0, (statistic, tensor)
            truth = truth[np.isin(at, steps)]
            if statistic == "gradient_log2_histogram":
                # An entry on the edge of an octave may fall to either side of it.
                assert int(np.abs(values.astype(int) - truth.astype(int)).sum()) <= 4
                continue
            against = "gradient_rms" if statistic == "gradient_mean" else statistic
            size = 1e-5 * float(np.abs(one.values(against, tensor)[1]).max())
            said = f"{statistic} of {tensor}"
            np.testing.assert_allclose(values, truth, rtol=1e-5, atol=size, err_msg=said)
