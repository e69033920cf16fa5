"""The table of claims is what its script writes, and each experiment still measures what it says."""

import importlib
import importlib.util
import json
import math
import runpy
import sys
from pathlib import Path

import pytest
import torch

DOCS = Path(__file__).resolve().parents[1] / "docs"
RECORDS = json.loads((DOCS / "experiments" / "records.json").read_text("utf-8"))
EXPERIMENTS = runpy.run_path(str(DOCS / "experiments" / "record.py"))


@pytest.fixture(autouse=True)
def nothing_left_behind():
    """What was imported from docs/ goes: another test's ``nets`` is another file."""
    yield
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(DOCS)):
            del sys.modules[name]


@pytest.fixture
def claims(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(DOCS))
    return importlib.import_module("claims")


def test_page_is_what_the_script_writes(claims) -> None:
    assert (DOCS / "claims.md").read_text("utf-8") == claims.page(), "run python docs/claims.py"


def test_every_claim_has_a_measurement_that_exists_and_a_verdict(claims) -> None:
    from claims_list import CLAIMS

    from unvanish.lessons import lesson

    for claim in CLAIMS:
        assert claim.verdict in claims.VERDICTS
        assert claim.experiments or claim.records
        assert any(letter.isdigit() for letter in claim.number())
        assert set(claim.experiments) <= set(EXPERIMENTS["EXPERIMENTS"])
        assert all((DOCS.parent / "benchmarks" / "records" / r).is_file() for r in claim.records)
        assert all(lesson(name).finding == name for name in claim.lessons)
    verdicts = {claim.said[:12]: claim.verdict for claim in CLAIMS}
    assert verdicts["Use an LSTM "] == verdicts["Batch norm f"] == "half true"
    assert verdicts["The derivati"] == verdicts["ReLU's deriv"] == "not so"


@pytest.mark.parametrize("name", EXPERIMENTS["EXPERIMENTS"])
def test_experiment_measures_what_is_on_record(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "detector" and importlib.util.find_spec("ultralytics") is None:
        pytest.skip("ultralytics is not installed")
    monkeypatch.syspath_prepend(str(DOCS / "experiments"))
    with torch.random.fork_rng():
        found = EXPERIMENTS["measured"](name)
    assert found.keys() == RECORDS[name].keys()
    for what, value in found.items():
        # Another processor rounds otherwise, and a training carries that on: shares of right answers
        # are compared in points; the rest by their order of magnitude, a tenth of a decade or so.
        if "right on" in what or what.endswith(": right") or "units" in what:
            assert value == pytest.approx(RECORDS[name][what], abs=0.15, rel=0.3), what
        elif abs(value) < 1e-3:
            logs = [math.log10(max(abs(v), 1e-30)) for v in (value, RECORDS[name][what])]
            assert logs[0] == pytest.approx(logs[1], abs=1.0), what
        else:
            assert value == pytest.approx(RECORDS[name][what], rel=0.3), what
