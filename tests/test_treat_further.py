"""What a wider ``keep`` would allow is said where it is known, and nowhere else."""

import re

import pytest
import torch
from sklearn.datasets import load_wine
from torch import nn
from torch.nn import functional as F

import unvanish
from unvanish.remedies.remedy import Keep
from unvanish.treatment import visit

INPUTS, CLASSES = load_wine(return_X_y=True)
WINE = torch.tensor(INPUTS, dtype=torch.float32), torch.tensor(CLASSES)
SCALED = (WINE[0] - WINE[0].mean(0)) / WINE[0].std(0), WINE[1]
SAID = re.compile(r"keep='(\w+)' would also allow ([^\n]*)")


def treat(keep: Keep, data: object = WINE) -> unvanish.Treatment:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(13, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3)
    )
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    return unvanish.treat(net, data, F.cross_entropy, optimizer, steps=80, keep=keep)


def inserting(found: unvanish.Treatment) -> set[str]:
    """The remedies of plans that put a layer in."""
    return {
        trial.remedies[-1]
        for trial in found.trials
        if any(edit.action == "insert" for edit in trial.edits)
    }


@pytest.fixture(scope="module")
def narrow() -> unvanish.Treatment:
    return treat("function")


def test_a_cure_that_leaves_a_net_behind_a_line_says_so_and_what_else_there_is(
    narrow: unvanish.Treatment,
) -> None:
    assert narrow.cured
    assert "nothing harmful is left" not in narrow.said
    assert "worse than a linear model" in narrow.said
    assert dict(SAID.findall("\n".join(narrow.notes))).keys() == {"layers"}
    assert "scale-input by a layer of its own" in " ".join(narrow.notes)
    assert not inserting(narrow)


def test_what_it_says_is_what_the_wider_search_tries(narrow: unvanish.Treatment) -> None:
    wide = treat("layers")
    assert "scale-input" in inserting(wide)
    assert wide.cured
    assert wide.remedies == ("scale-input",)
    assert wide.verdict is not None
    assert narrow.verdict is not None
    assert (wide.verdict.means[1] or 0) > (narrow.verdict.means[1] or 0)
    assert "nothing harmful is left" in wide.said
    assert not SAID.search("\n".join(wide.notes))


def test_nothing_further_is_said_of_a_net_that_is_well() -> None:
    found = treat("function", SCALED)
    assert found.said.startswith("nothing to treat")
    assert found.notes == ()


def test_where_nothing_is_shown_to_help_the_notes_say_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visit, "helps", lambda *_: False)
    found = treat("function")
    assert found.said.startswith("nothing that was tried measurably helps")
    assert SAID.search("\n".join(found.notes))
    assert not SAID.search("\n".join(treat("anything").notes))
