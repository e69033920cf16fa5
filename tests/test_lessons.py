"""Every lesson has its fault and no other, its twin has none, the cure cures, the pages are fresh."""

import ast
import importlib
import importlib.util
import inspect
import itertools
import math
import runpy
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import unvanish
from unvanish.causes import CAUSES
from unvanish.cli.target import load_target
from unvanish.errors import BadInput
from unvanish.lessons import ALL, LESSONS, SUBJECTS, lesson, ten_thousand
from unvanish.lessons.lesson import Lesson, Maker, Program
from unvanish.lessons.topics import TOPICS

# torch itself warns of two of the faults; the tests run with warnings as errors.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Using a target size", "ignore:None of the inputs have requires_grad"
)

DOCS = Path(__file__).resolve().parents[1] / "docs"

HERE = [one for one in ALL if one.page != "detector" or importlib.util.find_spec("ultralytics")]
"""Those whose packages are here."""
QUICK = [one for one in HERE if one.page != "ten-thousand"]
every_lesson = pytest.mark.parametrize("one", HERE, ids=lambda one: one.name)
NEEDED = {
    "detector": ("types", "importlib", "unvanish.errors", "unvanish.languages"),
    "adaptive": ("unvanish.nn",),
    "self_regulating": ("unvanish.nn",),
    "mirrored": ("unvanish.init",),
    "ten_thousand": ("unvanish.init",),
}
"""What a lesson needs besides torch: what it is about."""


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("one", QUICK, ids=lambda one: one.name)
def test_sick_is_named_and_well_is_healthy(one: Lesson, seed: int) -> None:
    sick = unvanish.diagnose(**one.sick(seed))
    assert [f.name for f in sick.findings][:1] == [one.finding], [f.name for f in sick.findings]
    well = unvanish.diagnose(**one.well(seed))
    assert well.healthy, [(f.name, f.where) for f in well.findings]
    assert one.finding not in [f.name for f in well.findings]


def test_every_finding_has_a_lesson_in_the_order_of_precedence() -> None:
    findings = [cause.card.name for cause in CAUSES]
    findings.remove("look-alike")  # never a finding: it is listed under what is expected
    assert [one.finding for one in LESSONS] == findings
    assert [one.page for one in LESSONS] == findings
    assert {one.finding for one in SUBJECTS} <= set(findings)


def test_the_course_names_every_lesson_and_only_lessons() -> None:
    named = [page for topic in TOPICS for page in topic.lessons]
    assert set(named) == {one.page for one in ALL}
    assert all(topic.lessons for topic in TOPICS)


def test_a_shallow_twin_of_the_thousand_layers_has_their_fault_and_cure() -> None:
    for seed in range(3):
        sick = unvanish.diagnose(**ten_thousand.program(seed, 80, critical=False))
        assert sick.findings[0].name == "init-too-small"
        assert unvanish.diagnose(**ten_thousand.program(seed, 80, critical=True)).healthy


def test_the_gradient_arrives_through_a_thousand_mirrored_layers() -> None:
    norms = []
    for make in (ten_thousand.sick, ten_thousand.well):
        program = make(0)
        program["loss"](program["model"](program["data"][0]), program["data"][1]).backward()
        weights = [p.grad.norm().item() for p in program["model"].parameters() if p.dim() == 2]
        norms.append(weights[0] / weights[-1])
    assert norms[0] == 0
    assert 0.01 < norms[1] < 100


@every_lesson
def test_lesson_is_told_and_can_be_run_from_the_command_line(one: Lesson) -> None:
    assert one.page == one.name.replace("_", "-")
    assert inspect.getmodule(one.sick).__name__ == f"unvanish.lessons.{one.name}"
    assert load_target(one.target).keys() == one.sick().keys()
    assert len(one.title) > 5
    assert one.story.count(". ") >= 2
    assert one.cure.endswith(".")
    assert ". " not in one.cure  # one sentence


@pytest.mark.parametrize("one", QUICK, ids=lambda one: one.name)
def test_a_seed_gives_the_same_program(one: Lesson) -> None:
    for make in (one.sick, one.well):
        first, second, other = make(1), make(1), make(2)
        assert all(map(torch.equal, tensors(first), tensors(second)))
        assert not all(map(torch.equal, tensors(first), tensors(other)))


def tensors(program: Program) -> list[Tensor]:
    return [*program["model"].parameters(), *(t for batch in batches(program) for t in batch)]


def batches(program: Program) -> list[tuple[Tensor, Tensor]]:
    return [program["data"]] if isinstance(program["data"], tuple) else program["data"]


@every_lesson
def test_lesson_needs_nothing_but_torch(one: Lesson) -> None:
    source = inspect.getsource(importlib.import_module(f"unvanish.lessons.{one.name}"))
    for node in ast.walk(ast.parse(source)):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            allowed = ("torch", "math", "typing", "collections.abc", "unvanish.lessons")
            assert name.startswith(allowed + NEEDED.get(one.name, ())), name


def test_lesson_by_name() -> None:
    assert lesson("depth-decay") is lesson("Depth_decay") is lesson("depth-decay ")
    with pytest.raises(BadInput, match="did you mean depth-decay"):
        lesson("depth-dcay")
    with pytest.raises(BadInput, match="known: nothing-trainable, "):
        lesson("???")


# --- the cure cures: a plain training loop, no diagnosis ------------------------------------------


@dataclass
class Trained:
    model: nn.Module
    losses: list[float]
    moved: set[str]


def train(make: Maker, steps: int, share: float = 1.0, seed: int = 0) -> Trained:
    """The program trained with its own step or optimizer (else Adam), on a share of each batch."""
    program = make(seed)
    model = program["model"]
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = program.get("optimizer") or torch.optim.Adam(trainable, 1e-3)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    losses: list[float] = []
    for batch in itertools.islice(itertools.cycle(batches(program)), steps):
        inputs, targets = (part[: round(share * len(part))] for part in batch)
        if "step" in program:
            with torch.no_grad():
                losses.append(program["loss"](model(inputs), targets).item())
            program["step"](model, optimizer, (inputs, targets))
            continue
        optimizer.zero_grad()
        if "forward" in program:
            loss = program["forward"](model, (inputs, targets))
        else:
            loss = program["loss"](model(inputs), targets)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    after = model.named_parameters()
    return Trained(model, losses, {n for n, p in after if not torch.equal(p, before[n])})


# Steps after which the cured program must be far ahead. In the first group both have one loss; in
# the second its unit differs between the two, so that each is compared with its own start.
LEARNS = {
    "unregistered-module": 100,
    "nonfinite-forward": 20,
    "nonfinite-backward": 20,
    "single-unit-softmax": 20,
    "broadcast-loss": 100,
    "symmetric-init": 60,
    "double-softmax": 100,
    "no-nonlinearity": 100,
    "post-norm-depth": 12,
    "half-precision-weights": 60,
    "unfit-loss": 100,
    "unscaled-input": 60,
    "step-too-large": 60,
    "weight-decay-dominates": 60,
    "saturated-activation": 200,
    "dead-units": 60,
    "clip-before-unscale": 60,
    "unscaled-accumulation": 20,
    "always-clipped": 100,
    "init-too-small": 60,
    "collapsed-signal": 30,
    "depth-growth": 20,
    "depth-decay": 60,
    "time-growth": 20,
    "step-too-small": 60,
    "leaky-kin": 300,
    "mirrored": 60,
    "batch-norm": 60,
    "residual": 60,
    "wiring": 60,
    "false-alarms": 60,
    "adaptive": 60,
    "self-regulating": 100,
}
FALLS = {"half-precision-underflow": 60, "unscaled-target": 100, "epsilon-dominated": 100}
# What no step of the sick program changes, and every step of the cured one does.
MOVES = {
    "nothing-trainable": "lora_",
    "frozen-by-checkpoint": "trunk.",
    "detached": "encoder.",
    "not-in-optimizer": "2.",
    "stuck-saddle": "lora_",
}
# What the sick program learns of its samples too, but not of others.
CARRIES_OVER = ("init-too-large", "chaotic-signal", "nothing-to-learn")
# Each in a test of its own.
OTHERWISE = (
    "loss-scale-collapse",
    "stale-gradients",
    "wrong-sign",
    "time-decay",
    "blind-spot",
    "ten-thousand",
    "detector",
)


def test_every_cure_is_tried() -> None:
    tried = [*LEARNS, *FALLS, *MOVES, *CARRIES_OVER, *OTHERWISE]
    assert sorted(tried) == sorted(one.page for one in ALL)


@pytest.mark.parametrize("name", LEARNS)
def test_cured_program_learns_and_the_sick_one_does_not(name: str) -> None:
    one, steps = lesson(name), LEARNS[name]
    sick, well = train(one.sick, steps).losses[-1], train(one.well, steps).losses[-1]
    assert well < 0.5 * sick or math.isnan(sick), (sick, well)
    assert math.isfinite(well)


@pytest.mark.parametrize("name", FALLS)
def test_cured_loss_falls_and_the_sick_one_does_not(name: str) -> None:
    one, steps = lesson(name), FALLS[name]
    sick, well = train(one.sick, steps).losses, train(one.well, steps).losses
    assert sick[-1] > 0.95 * sick[0]
    assert well[-1] < 0.5 * well[0]


@pytest.mark.parametrize("name", MOVES)
def test_cured_parameters_move_and_the_sick_ones_do_not(name: str) -> None:
    one = lesson(name)
    sick, well = train(one.sick, 5), train(one.well, 5)
    meant = {n for n, _ in well.model.named_parameters() if n.startswith(MOVES[name])}
    assert meant
    assert meant <= well.moved
    assert not meant & sick.moved
    assert sick.losses[-1] < sick.losses[0]  # which is why the loss does not show it


@pytest.mark.parametrize("name", CARRIES_OVER)
def test_cured_program_knows_samples_that_it_has_not_seen(name: str) -> None:
    one, other = lesson(name), {}
    for make in (one.sick, one.well):
        trained = train(make, 60, share=0.5)
        inputs, labels = make(0)["data"]
        rest = len(inputs) // 2
        with torch.no_grad():
            outputs = trained.model(inputs[rest:])
        other[make] = nn.functional.cross_entropy(outputs, labels[rest:]).item()
        assert trained.losses[-1] < 0.5 * trained.losses[0]
        guess = math.log(outputs.shape[1])
    assert other[one.sick] > 0.9 * guess
    assert other[one.well] < 0.5 * guess


def test_scaler_skips_one_batch_for_ever() -> None:
    one, steps = lesson("loss-scale-collapse"), []
    for make in (one.sick, one.well):
        program = make(0)
        stepped = []
        for batch in batches(program):
            before = tensors(program)[0].detach().clone()
            program["step"](program["model"], program["optimizer"], batch)
            stepped.append(not torch.equal(tensors(program)[0], before))
        steps.append(stepped)
    assert steps == [[True] * 6 + [False, True], [True] * 8]


def test_cleared_gradients_only_go_down() -> None:
    one, rises = lesson("stale-gradients"), []
    for make in (one.sick, one.well):
        losses = train(make, 200).losses
        rises.append(sum(later > before for before, later in itertools.pairwise(losses)))
    assert rises[0] > 20
    assert rises[1] == 0


def test_without_its_sign_the_loss_makes_the_answers_right() -> None:
    one, right = lesson("wrong-sign"), []
    for make in (one.sick, one.well):
        model = train(make, 60).model
        inputs, labels = make(0)["data"]
        right.append((model(inputs).argmax(1) == labels).float().mean().item())
    assert right[0] < 0.1 < 0.9 < right[1]


@pytest.mark.parametrize("seed", range(5))
def test_cured_network_hears_its_first_step(seed: int) -> None:
    one, heard = lesson("time-decay"), []
    for make in (one.sick, one.well):
        program = make(seed)
        sequences, labels = program["data"]
        sequences.requires_grad_(True)
        program["loss"](program["model"](sequences), labels).backward()
        sizes = sequences.grad.norm(dim=(0, 2))
        heard.append((sizes[0] / sizes[-1]).item())
    assert heard[0] < 2.0**-24 < 2.0**-12 < heard[1]  # float32's resolution, and its root


@pytest.mark.skipif(not importlib.util.find_spec("ultralytics"), reason="needs ultralytics")
@pytest.mark.parametrize("seed", range(5))
def test_first_convolution_of_the_detector_hears_its_loss(seed: int) -> None:
    one, heard = lesson("detector"), []
    for make in (one.sick, one.well):
        program = make(seed)
        program["forward"](program["model"], program["data"]).backward()
        named = {
            n: p.grad.norm().item()
            for n, p in program["model"].named_parameters()
            if p.grad is not None
        }
        heard.append(named["model.0.conv.weight"] / named["model.9.cv2.conv.weight"])
    assert heard[0] < 1e-3 < 0.1 < heard[1]


def test_blind_spot_hides_nothing_here() -> None:
    one = lesson("blind-spot")
    assert train(one.sick, 10).losses == pytest.approx(train(one.well, 10).losses, rel=1e-4)


# --- the pages ------------------------------------------------------------------------------------


def test_pages_are_what_the_script_writes() -> None:
    written = runpy.run_path(str(DOCS / "findings.py"))["pages"]()
    kept = {path.name: path.read_text("utf-8") for path in (DOCS / "findings").glob("*.md")}
    stale = sorted(
        name for name in written.keys() | kept.keys() if written.get(name) != kept.get(name)
    )
    assert not stale, "run python docs/findings.py"


def test_every_finding_has_a_page_and_every_link_leads_somewhere() -> None:
    pages = {path.name: path.read_text("utf-8") for path in (DOCS / "findings").glob("*.md")}
    assert {f"{cause.card.name}.md" for cause in CAUSES} == pages.keys() - {"README.md"}
    for text in pages.values():
        assert {link.split(")")[0] for link in text.split("](")[1:]} <= pages.keys()
    for one in LESSONS:
        assert f"unvanish diagnose {one.target}\n" in pages[f"{one.finding}.md"]
