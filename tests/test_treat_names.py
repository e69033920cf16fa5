"""What tells plans apart, how far a cure goes in words, and what a new start of a layer is for."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import reported
import torch
from reported import Page
from torch import nn

import unvanish
from unvanish import Treatment
from unvanish.remedies.drafts import in_step, initialise, inserted, option, replaced, rewritten
from unvanish.remedies.remedy import Level
from unvanish.report.html import treatment_page
from unvanish.surgery.calls import NOTHING
from unvanish.surgery.edits import Edit, Part
from unvanish.treatment.record import Tried
from unvanish.treatment.text import render

NORM = Part(type="torch.nn.LayerNorm", arguments={"normalized_shape": 4})
MANY = ("body.0", "body.2", "body.4", "body.6", "body.8")


def tried(*edits: Edit, remedies: Sequence[str] = ("one",), level: Level = "values") -> Tried:
    return Tried(remedies=tuple(remedies), level=level, edits=edits)


def treatment(on_trial: Tried, **more: object) -> Treatment:
    found = replace(reported.treated(), edits=on_trial.edits, on_trial=on_trial, **more)  # type: ignore[arg-type]
    return replace(found, remedies=on_trial.remedies)


def test_plans_that_differ_have_names_that_differ() -> None:
    plans = [
        (initialise(),),
        (initialise("he_"),),
        (initialise(only=("body.3", "body.5")),),
        (initialise(only=("body.3",)),),
        (initialise(only=MANY),),
        (initialise(), option(lr_factor=3.0)),
        (initialise(only=("body.3",)), option(lr_factor=3.0)),
        (initialise(), option(lr=0.003)),
        (initialise(), in_step(clip_norm=1.0)),
        (Edit(action="scale", where=("body.3",), options={"factor": 0.5}),),
        (Edit(action="scale", where=("body.3",), options={"factor": 0.25}),),
        (Edit(action="fill", where=("bias",), options={"value": 1.0}),),
        (inserted("body.3", NORM, before=True),),
        (replaced("body.1", Part(type="torch.nn.GELU")), initialise()),
        (replaced("body.1", Part(type="torch.nn.SiLU")), initialise()),
    ]
    names = [tried(*plan).name for plan in plans]
    assert len(set(names)) == len(plans)
    assert names[0] == "one"
    assert names[2] == "one (only body.3, body.5)"
    assert names[4] == "one (only body.0, body.2, ... body.8 (5))"


def test_factors_on_one_step_size_are_told_as_their_product() -> None:
    twice = tried(option(lr_factor=9.0), initialise(), option(lr_factor=1 / 3))
    assert twice.name == "one (lr_factor = 3)"
    apart = tried(option(lr_factor=9.0), option(["body.3"], lr_factor=0.5))
    assert apart.name == "one (lr_factor = 9)"


TAKEN_OUT = (
    rewritten("", "detach", NOTHING),
    rewritten("", "softmax", NOTHING),
    replaced("0", Part(type="torch.nn.Identity")),
)


@pytest.mark.parametrize("edit", TAKEN_OUT)
@pytest.mark.parametrize(("level", "more"), [("wiring", ()), ("values", (initialise(),))])
def test_a_mended_fault_of_the_wiring_is_no_other_architecture(
    edit: Edit, level: Level, more: tuple[Edit, ...]
) -> None:
    found = treatment(tried(edit, *more, level=level))
    assert found.changes_architecture
    text, page = render(found), Page(treatment_page(found, "en")).text
    assert "(mends the wiring; no layer is exchanged)" in text
    assert "This mends the wiring: no layer is exchanged." in page
    assert "changes the architecture" not in text + page


@pytest.mark.parametrize(
    ("level", "edits"),
    [
        ("activation", (replaced("1", Part(type="torch.nn.GELU")),)),
        ("norm", (TAKEN_OUT[2],)),  # a norm that goes was no fault
        ("loop", (inserted("0", NORM, before=True),)),
        ("skip", (TAKEN_OUT[0], inserted("0", NORM, before=True))),
    ],
)
def test_what_exchanges_or_puts_in_changes_the_architecture(
    level: Level, edits: tuple[Edit, ...]
) -> None:
    found = treatment(tried(*edits, level=level))
    assert "(changes the architecture)" in render(found)
    assert "This changes the architecture." in treatment_page(found, "en")


SCALES = "the inputs' mean and scale go into the weights"


def test_a_first_layer_that_takes_the_inputs_scale_says_so() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    batch = 900 * torch.rand(64, 4), torch.arange(64) % 3
    before = unvanish.diagnose(net, batch, nn.CrossEntropyLoss())
    first = tried(initialise(only=("0",)), remedies=("scale-input",), level="loop")
    found = treatment(first, before=before)
    assert f"1. initialise 0 anew: critical_(); {SCALES}" in " ".join(render(found).split())
    assert "mean and scale go into the weights" in Page(treatment_page(found, "en")).text
    # What is said is so: on these inputs the new values answer at unit scale, the old ones far off.
    apply = unvanish.surgery.apply
    fresh = apply(net, first.edits, batch=batch, loss=nn.CrossEntropyLoss())
    old, new = (layer[0](batch[0]).std().item() for layer in (net, fresh))
    assert old > 100
    assert 0.3 < new < 3
    for plan in (
        replace(first, remedies=("reinitialize",)),
        replace(first, edits=(initialise(only=("2",)),)),
        replace(first, edits=(initialise(),)),
    ):
        assert SCALES not in " ".join(render(treatment(plan, before=before)).split())
