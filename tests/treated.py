"""Programs treated by a plan: the model, the optimizer and the step that the edits ask for."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

import unvanish
from unvanish.batches import compute_loss, take_batches
from unvanish.remedies.remedy import Patient
from unvanish.surgery import Controls, apply, carried
from unvanish.surgery.edits import Edit

Program = Mapping[str, Any]


def patient_of(program: Program, **more: Any) -> Patient:
    """The patient of a lesson or of a test's program, diagnosed."""
    return Patient(
        model=program["model"],
        batches=take_batches(program["data"], 4),
        loss=program.get("loss"),
        forward=program.get("forward"),
        optimizer=program.get("optimizer"),
        diagnosis=unvanish.diagnose(**program),
        **more,
    )


def treated(program: Program, plan: Sequence[Edit]) -> dict[str, Any]:
    """The same program after the edits of a plan; the one that was given stays as it is."""
    batch = take_batches(program["data"], 1)[0]
    loss, forward = program.get("loss"), program.get("forward")
    model = apply(program["model"], plan, batch=batch, loss=loss, forward=forward)
    changed: dict[str, Any] = {**program, "model": model}
    in_step = [edit for edit in plan if edit.action == "step"]
    if program.get("optimizer") is not None:
        changed["optimizer"] = carried(program["optimizer"], program["model"], model, plan)
    elif in_step:
        changed["optimizer"] = torch.optim.Adam(model.parameters(), 1e-3)
    if in_step:
        changed["step"] = _step(program, Controls.from_edits(plan))
        changed.pop("forward", None)  # the step is what is observed
    return changed


def _step(program: Program, controls: Controls) -> Any:
    own = program.get("step")

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
        if own is not None:  # what a loop of one's own does after clearing is its own affair
            if controls.zero_grad:
                optimizer.zero_grad()
            own(model, optimizer, batch)
            return
        optimizer.zero_grad()
        loss = compute_loss(model, batch, program.get("loss"), program.get("forward"))
        controls.before_backward(loss, optimizer).backward()
        if controls.before_step(model, optimizer, 0):
            optimizer.step()

    return step


def findings(program: Program) -> dict[str, str]:
    """Names and severities of what is found, notes left out."""
    found = unvanish.diagnose(**program).findings
    return {f.name: f.severity for f in found if f.severity != "note"}
