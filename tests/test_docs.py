"""Python in the README and the docs runs as it stands there.

The blocks of a page run in order, in one namespace that begins with what its reader has: a ``model``,
``inputs``, ``targets``, ``batch``, ``loss``, ``optimizer``, ``loader``, a loop ``train()`` and two kinds
of step. A line that is ``...`` alone stands for ``train()``. What cannot run here is a fragment: it is
marked by a comment ``<!-- fragment: why -->`` before it, or listed below with the reason; every fragment
compiles.
"""

import io
import re
import tomllib
import warnings
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import unvanish

ROOT = Path(__file__).resolve().parents[1]
PAGES = ["README.md", *(f"docs/{p.name}" for p in sorted((ROOT / "docs").glob("*.md")))]
PAGES += ["docs/lessons/README.md"]
FRAGMENTS: dict[tuple[str, str], str] = {
    ("docs/alarms.md", "alarms.feed(reading)"): "is fed by a watch; tests/test_alarms.py",
    ("docs/frameworks.md", "integrations.huggingface"): "tests/test_integrations.py",
    ("docs/frameworks.md", "accelerator.prepare"): "tests/test_integration_accelerate.py",
    ("docs/frameworks.md", "integrations.lightning"): "tests/test_integrations.py",
    ("docs/frameworks.md", "YOLO("): "needs pictures; tests/test_integration_yolo.py",
    ("docs/frameworks.md", "yolo.model"): "needs a detector; tests/test_integration_yolo.py",
    ("docs/frameworks.md", "integrations.keras"): "needs Keras; tests/test_integrations.py",
    ("docs/recording.md", "sinks.WandB"): "needs accounts; tests/test_recording_sinks.py",
}
"""By page and something that the block contains, with the reason or the test that runs it instead."""
BLOCK = re.compile(r"(?:^<!-- fragment: (.+?) -->\s*\n+)?^```python\n(.*?)^```$", re.S | re.M)


def blocks(page: str) -> list[tuple[str | None, str]]:
    """Each block of a page with why it is a fragment, if it is one."""
    found = BLOCK.findall((ROOT / page).read_text("utf-8"))
    listed = {part: why for (home, part), why in FRAGMENTS.items() if home == page}
    return [
        (why or next((w for part, w in listed.items() if part in code), None), code)
        for why, code in found
    ]


class Net(nn.Module):
    """A small classifier with the names that the pages use."""

    def __init__(self) -> None:
        super().__init__()
        rows: list[nn.Module] = []
        for _ in range(5):
            rows += [nn.Linear(16, 16), nn.ReLU()]
        self.body = nn.Sequential(*rows)
        self.layers = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.ReLU(), nn.Linear(16, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(self.body(x))


def readers() -> dict[str, Any]:
    """What the reader of a page has."""
    torch.manual_seed(0)
    model, loss = Net(), nn.CrossEntropyLoss()
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight)
    labels = torch.arange(128) % 4
    inputs = torch.randn(4, 16)[labels] + 0.3 * torch.randn(128, 16)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    loader = [(inputs[i : i + 32], labels[i : i + 32]) for i in range(0, 128, 32)]

    def training_step(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return loss(model(batch[0]), batch[1])

    def train_step(model: nn.Module, optimizer: Any, batch: tuple[Tensor, Tensor]) -> None:
        optimizer.zero_grad()
        training_step(model, batch).backward()
        optimizer.step()

    def train() -> None:
        for batch in loader:
            train_step(model, optimizer, batch)

    return {
        "__name__": "__main__",
        "torch": torch,
        "nn": nn,
        "unvanish": unvanish,
        "Net": Net,
        "model": model,
        "loss": loss,
        "inputs": inputs,
        "targets": labels,
        "batch": (inputs, labels),
        "data": (inputs, labels),
        "optimizer": optimizer,
        "loader": loader,
        "training_step": training_step,
        "train_step": train_step,
        "train": train,
        "diagnosis": unvanish.diagnose(model, (inputs, labels), loss),
    }


RUNNING = [page for page in PAGES if any(why is None for why, _ in blocks(page))]


@pytest.mark.parametrize("page", RUNNING)
def test_code_of_a_page_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with torch.random.fork_rng(), warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        names = readers()
        for number, (why, code) in enumerate(blocks(page)):
            if why is None:
                code = re.sub(r"^(\s+)\.\.\.$", r"\1train()", code, flags=re.M)
                exec(compile(code, f"{page}, block {number}", "exec"), names)


def test_every_fragment_compiles_and_says_why_it_is_one() -> None:
    fragments = [(page, why, code) for page in PAGES for why, code in blocks(page) if why]
    for page, why, code in fragments:
        compile(code, page, "exec")
        assert len(why) > 10
    texts = {page: (ROOT / page).read_text("utf-8") for page in PAGES}
    assert not [key for key in FRAGMENTS if key[1] not in texts[key[0]]]


def test_most_code_runs() -> None:
    every = [why for page in PAGES for why, _ in blocks(page)]
    assert sum(why is None for why in every) >= 2 * sum(why is not None for why in every)


# --- figures that pages repeat --------------------------------------------------------------------


def test_peers_table_is_that_of_the_record() -> None:
    record = (ROOT / "benchmarks" / "records" / "diagnosis.md").read_text("utf-8")
    table = record.split("## All judges on the same programs and seeds")[1].split("###")[0]
    rows = {row.split("|")[1].strip(): row for row in table.splitlines() if row.startswith("| ")}
    page = (ROOT / "docs" / "peers.md").read_text("utf-8").split("| judge |")[1].split("\n\n")[0]
    told = [[c.strip() for c in row.split("|")[1:-1]] for row in page.splitlines()[2:]]
    assert len(told) >= 10
    for judge, *figures in told:
        for figure in figures:
            assert f" {figure} " in rows[judge], (judge, figure)


def test_layers_in_architecture_are_those_of_the_contract() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    layers = project["tool"]["importlinter"]["contracts"][0]["layers"]
    contract = [re.sub(r"[() ]", "", layer) for layer in layers if layer != "__main__"]
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8").split("## Layers")[1]
    told = re.findall(r"^    (\S.*)$", text.split("The contract is")[0], re.M)
    assert [layer.replace(" ", "") for layer in told] == contract


def test_places_in_architecture_exist() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8").split("## Where is")[1]
    places = [p for p in re.findall(r"`([\w/.]+)`", text) if p.endswith((".py", ".md", "/"))]
    homes = (ROOT, ROOT / "src" / "unvanish")
    assert len(places) > 100
    assert not [p for p in places if not any((home / p).exists() for home in homes)]


LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def test_every_link_between_pages_leads_somewhere() -> None:
    dead = []
    for page in [*PAGES, "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md"]:
        for link in LINK.findall((ROOT / page).read_text("utf-8")):
            if "://" not in link and not (ROOT / page).parent.joinpath(link).exists():
                dead.append((page, link))
    assert not dead
