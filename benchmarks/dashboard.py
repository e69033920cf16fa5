"""How soon the dashboard is seen, and how far behind a running training it is.

    python benchmarks/dashboard.py [--record benchmarks/records/dashboard.json]

In headless Chromium, each case several times with a fresh page: first contentful paint, and the
moment at which heat map and curves stand on the screen (two frames after they were drawn), with a
server that has read nothing yet ("first") and with one that has ("again"). The case
of 10,000 tensors by 100,000 steps has a scalar of every step, and readings of those steps that a
recording within its limit keeps: of old ones every 32nd, of the last thousand all. Following is
measured from the moment at which a step is handed to the writer to the one at which it is shown.
"""

import argparse
import contextlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, sync_playwright

from unvanish.recording import Event, StepReading, TensorEntry, Writer

ARGUMENTS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
CASES = {
    "1,000 tensors x 300 steps": (1000, 300),
    "10,000 tensors x 100,000 steps": (10_000, 100_000),
}
BARS = {
    "first paint": 1.0,
    "1,000 tensors x 300 steps": 2.0,
    "10,000 tensors x 100,000 steps": 5.0,
    "behind": 1.0,
}
SPARSER, LAST = 32, 1000
DRAWN = """() => {
  const chart = document.querySelector('.chart:not(.hidden) canvas');
  const map = document.querySelector('.field canvas');
  return Boolean(chart && map && map.width > 300 && document.querySelector('.names span'));
}"""

TOLD = """() => {
  const title = document.querySelector('.alarm b');
  return Boolean(title && title.textContent !== 'step-too-large');
}"""


def entries(tensors: int) -> list[TensorEntry]:
    """Ten tensors a layer, as a transformer has them."""
    parts = ("attention.query", "attention.key", "attention.value", "attention.out", "feed.up")
    names = [
        f"layers.{i // 10}.{parts[i % 10 // 2]}.{'bias' if i % 2 else 'weight'}"
        for i in range(tensors)
    ]
    return [TensorEntry(name=name, shape=(64, 64), dtype="float32") for name in names]


def record(folder: Path, tensors: int, steps: int) -> None:
    """A recording as a long training leaves it behind."""
    random = np.random.default_rng(0)
    depth = np.linspace(-6, -1, tensors)
    drawn = [(10 ** (depth + random.normal(0, 0.3, tensors))).astype(np.float32) for _ in range(8)]
    with Writer(
        folder, entries(tensors), {"model": "made for the benchmark"}, limit_bytes=4 << 30
    ) as writer:
        for step in range(steps):
            kept = steps <= LAST or step % SPARSER == 0 or step >= steps - LAST
            values = {
                name: drawn[(step + place) % 8]
                for place, name in enumerate(("gradient_rms", "gradient_l2"))
            }
            writer.write(
                StepReading(
                    step=step,
                    seconds=step / 50,
                    stage="unscaled unclipped whole",
                    values=values if kept else {},
                    scalars={
                        "loss": 3 / (1 + step / 1000),
                        "learning_rate": 1e-3,
                        "gradient_l2": 1.0,
                    },
                )
            )
            if step % 200 == 0:
                writer.flush()
        for step in range(steps // 20, steps, steps // 20):
            writer.event(
                Event(
                    kind="alarm", name="step-too-large", step=step, seconds=0.0, severity="harmful"
                )
            )


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of the dashboard of a folder."""
    command = [sys.executable, "-m", "unvanish", "serve", str(folder), "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
        server.terminate()


def opening(browser: Browser, address: str) -> tuple[float, float]:
    """Seconds to the first paint, and to heat map and curves on the screen."""
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    begun = time.perf_counter()
    page.goto(address, wait_until="commit")
    page.wait_for_function(DRAWN, polling=20)
    page.evaluate(
        "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
    )
    drawn = time.perf_counter() - begun
    paint = page.evaluate(
        "() => performance.getEntriesByName('first-contentful-paint')[0].startTime"
    )
    page.wait_for_function(TOLD)  # torch is loaded for the sentences: not while the next is timed
    page.close()
    return paint / 1000, drawn


def case(browser: Browser, tensors: int, steps: int, rounds: int) -> dict[str, Any]:
    """One size of recording, the first opening (nothing read before) apart from the others."""
    with tempfile.TemporaryDirectory() as folder:
        record(Path(folder), tensors, steps)
        size = sum(file.stat().st_size for file in Path(folder).iterdir())
        found = {"first": [], "again": []}
        for _ in range(rounds):
            with served(Path(folder)) as address:
                found["first"].append(opening(browser, address))
                found["again"].append(opening(browser, address))
    return {
        "megabytes": round(size / 1e6, 1),
        "rounds": rounds,
        **{
            f"{which}: {what}": spread([one[place] for one in times])
            for which, times in found.items()
            for place, what in ((0, "first paint, s"), (1, "drawn, s"))
        },
    }


def behind(browser: Browser, tensors: int, steps: int) -> dict[str, Any]:
    """How long after a step was handed to the writer the page shows it."""
    delays: list[float] = []
    values = np.full(tensors, 1e-3, np.float32)
    with tempfile.TemporaryDirectory() as folder:
        writer = Writer(folder, entries(tensors), {})
        put = lambda step: writer.write(  # noqa: E731
            StepReading(
                step=step,
                seconds=step,
                stage="u",
                values={"gradient_rms": values},
                scalars={"loss": 1.0},
            )
        )
        for step in range(100):
            put(step)
        writer.flush()
        with served(Path(folder)) as address:
            page = browser.new_page()
            page.goto(address)
            page.wait_for_function(DRAWN)
            page.wait_for_timeout(4000)
            for step in range(100, 100 + steps):
                page.wait_for_timeout(400 + 61 * (step % 7))
                begun = time.perf_counter()
                put(step)
                shown = "said => document.querySelector('#run').textContent.includes(said)"
                page.wait_for_function(shown, arg=f"{step + 1} steps", polling=10)
                delays.append(time.perf_counter() - begun)
            page.close()
        writer.close()
    return {"tensors": tensors, "steps": steps, "behind, s": spread(delays)}


def spread(numbers: list[float]) -> list[float]:
    """Median, least, greatest."""
    return [round(number, 3) for number in (statistics.median(numbers), min(numbers), max(numbers))]


def main() -> None:
    """Run all of it, say it, and keep it where asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--record", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    load = os.getloadavg()[0]
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        results: dict[str, Any] = {
            "python": platform.python_version(),
            "chromium": browser.version,
            "processors": os.cpu_count(),
            "load of the machine by others": round(load, 1),
            "median, least, greatest": True,
            "bars, s": BARS,
        }
        for name, (tensors, steps) in CASES.items():
            results[name] = case(browser, tensors, steps, chosen.rounds)
            print(name, json.dumps(results[name]), flush=True)
        results["following"] = behind(browser, 1000, 20)
        print("following", json.dumps(results["following"]), flush=True)
        browser.close()
    if chosen.record:
        chosen.record.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
