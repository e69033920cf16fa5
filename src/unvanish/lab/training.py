"""A training run of the net of the lab, told step by step, and its treatment."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn

from unvanish.lab.adopting import adopted
from unvanish.lab.data import BATCH, classes, loss_of, samples
from unvanish.lab.looking import hidden_weights, patient
from unvanish.lab.settings import Settings
from unvanish.remedies.remedy import Keep
from unvanish.surgery import Edit
from unvanish.surgery.controls import Controls
from unvanish.treatment import Treatment, treat

STEPS: Final = 300
SECONDS: Final = 60.0
"""A training ends after so many steps or so much time."""
EVERY: Final = 5
"""Steps between two messages."""
TRIAL_STEPS: Final = 60
TRIAL_SAMPLES: Final = 256
TRIAL_SECONDS: Final = 150.0
KEEPS: Final[tuple[Keep, ...]] = ("function", "anything")
"""How far a cure may go: first without a change of modules, then, if nothing helps, with any."""


class Training:
    """A net that learns; :meth:`run` yields what a page draws of it."""

    def __init__(self, settings: Settings, edits: tuple[Edit, ...] = ()) -> None:
        self.settings = settings
        self.net, self.optimizer, _ = patient(settings, edits)
        inputs, targets = samples(settings)
        kept = len(inputs) // 4
        self.held_out = inputs[:kept], targets[:kept]
        self.inputs, self.targets = inputs[kept:], targets[kept:]
        self.loss = loss_of(settings)
        self.weights = hidden_weights(self.net)
        self.controls = Controls({"clip_norm": settings.clip} if settings.clip else {})
        self.generator = torch.Generator().manual_seed(settings.seed)

    def run(self) -> Iterator[dict[str, Any]]:
        """Messages: what is trained, every few steps how it goes, and how it ended.

        ``layers`` are update/weight of each matrix in one real step, ``gradients`` the norms of
        their gradients before clipping; ``score`` is accuracy on held-out samples, or the share of
        their variance that is explained.
        """
        started = time.monotonic()
        yield {"names": list(self.weights), "steps": STEPS, "guess": self._guess()}
        for step in range(STEPS + 1):
            told = step % EVERY == 0
            batch = self._batch(step)
            loss, gradients, moved = self._step(batch, told)
            finite = math.isfinite(loss)
            if told or not finite:
                message = {"step": step, "loss": loss, "layers": moved, "gradients": gradients}
                yield {**message, "score": self._score() if step % (4 * EVERY) == 0 else None}
            if not finite:
                yield {"done": "diverged", "step": step}
                return
            if time.monotonic() - started > SECONDS:
                yield {"done": "time", "step": step, "score": self._score()}
                return
        yield {"done": "finished", "step": STEPS, "score": self._score()}

    def _batch(self, step: int) -> tuple[Tensor, Tensor]:
        a_round = len(self.inputs) // BATCH
        if step % a_round == 0:
            self.order = torch.randperm(len(self.inputs), generator=self.generator)
        at = step % a_round * BATCH
        chosen = self.order[at : at + BATCH]
        return self.inputs[chosen], self.targets[chosen]

    def _step(
        self, batch: tuple[Tensor, Tensor], told: bool
    ) -> tuple[float, list[float], list[float]]:
        self.optimizer.zero_grad()
        loss = self.loss(self.net(batch[0]), batch[1])
        loss.backward()
        gradients = [_norm(weight.grad) for weight in self.weights.values()] if told else []
        before = [weight.detach().clone() for weight in self.weights.values()] if told else []
        if self.controls(self.net, self.optimizer):
            self.optimizer.step()
        moved = [
            _norm(weight.detach() - old) / max(_norm(old), 1e-30)
            for weight, old in zip(self.weights.values(), before, strict=False)
        ]
        return float(loss.detach()), gradients, moved

    @torch.no_grad()
    def _score(self) -> float | None:
        self.net.eval()
        outputs = self.net(self.held_out[0])
        self.net.train()
        targets = self.held_out[1]
        if classes(self.settings):
            return float((outputs.argmax(1) == targets).float().mean())
        score = 1 - float((outputs - targets).square().mean() / targets.var())
        return max(score, 0.0) if math.isfinite(score) else 0.0

    def _guess(self) -> float:
        """The loss of the best constant answer."""
        count = classes(self.settings)
        if not count:
            return float(self.targets.var())
        shares = torch.bincount(self.targets, minlength=count) / len(self.targets)
        return float(-(shares * shares.clamp_min(1e-12).log()).sum())


def cure(settings: Settings, tell: Callable[[str, float], None]) -> dict[str, Any]:
    """Treat the net on copies; what came of it, and where the sliders stand then.

    Args:
        settings: of the sick net.
        tell: called with what is being done and the seconds since the start.
    """
    net, optimizer, _ = patient(settings)
    inputs, targets = samples(settings)
    treatment: Treatment | None = None
    for keep in KEEPS:
        treatment = treat(
            net,
            (inputs[:TRIAL_SAMPLES], targets[:TRIAL_SAMPLES]),
            loss_of(settings),
            optimizer,
            steps=TRIAL_STEPS,
            keep=keep,
            budget_s=TRIAL_SECONDS,
            seed=settings.seed,
            progress=tell,
        )
        if treatment.cured or treatment.before.healthy:
            break
    assert treatment is not None
    return _record(settings, net, treatment)


def _record(settings: Settings, net: nn.Module, treatment: Treatment) -> dict[str, Any]:
    after, left = adopted(settings, treatment.edits, _activations(net))
    return {
        "cured": treatment.cured,
        "healthy": treatment.before.healthy,
        "said": treatment.said,
        "remedies": list(treatment.remedies),
        "settings": after.as_query(),
        "edits": [edit.to_json() for edit in left],
        "trial": _trial(treatment),
        "tried": _tried(treatment),
        "seconds": treatment.seconds,
    }


def _trial(treatment: Treatment) -> dict[str, Any] | None:
    verdict = treatment.verdict
    if verdict is None:
        return None
    control, treated = verdict.curves
    return {
        "word": verdict.word,
        "metric": verdict.metric,
        "basis": verdict.basis,
        "difference": verdict.difference,
        "interval": verdict.interval,
        "means": verdict.means,
        "guess": verdict.zero_skill,
        "seeds": len(verdict.pairs),
        "steps": verdict.steps,
        "pairs": [[pair.control.metric, pair.treated.metric] for pair in verdict.pairs],
        "control": list(control),
        "treated": list(treated),
    }


def _tried(treatment: Treatment) -> list[dict[str, Any]]:
    return [
        {"remedies": list(one.remedies), "score": one.score, "out": one.out}
        for one in treatment.trials[:8]
    ]


def _activations(net: nn.Module) -> Sequence[str]:
    return [name for name, _ in net.named_modules() if name.rpartition(".")[2] == "activation"]


def _norm(tensor: Tensor | None) -> float:
    if tensor is None:
        return 0.0
    return float(torch.linalg.vector_norm(tensor, dtype=torch.float64))
