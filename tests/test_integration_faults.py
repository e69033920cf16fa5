"""Faults put into trainings of each framework: each is named within 50 steps."""

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from unvanish import Recording

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
pytestmark = pytest.mark.filterwarnings("ignore")  # the frameworks' own

STEPS = 50
NAMES = {
    "sigmoid": {"depth-decay"},
    "nan": {"nonfinite-forward", "nonfinite-backward"},
    "rate": {"step-too-large"},
    "checkpoint": {"frozen-by-checkpoint"},
}
RATES = {"rate": 10.0}
"""A thousand times that of the healthy one, 1e-2."""


def needs(*names: str) -> pytest.MarkDecorator:
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {missing}")


class Sick(nn.Module):
    """Eight features, three classes, and one fault."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fault, self.calls = fault, 0
        sigmoid = [layer for _ in range(12) for layer in (nn.Linear(8, 8), nn.Sigmoid())]
        plain = [nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh()]
        self.body = nn.Sequential(*(sigmoid if fault == "sigmoid" else plain))
        self.branch = nn.Linear(8, 3)
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        cut = self.fault == "checkpoint"
        hidden = checkpoint(self.body, x, use_reentrant=True) if cut else self.body(x)
        logits = self.head(hidden)
        if self.fault == "nan" and self.calls > 10:
            logits = logits + torch.log(self.branch(hidden) - 100)
        return logits


def data() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(STEPS * 8, 8, generator=generator)
    return x, (x[:, 0] > 0).long() + (x[:, 1] > 0).long()


def assert_named(monitor: Any, fault: str) -> None:
    assert monitor is not None
    assert monitor.steps <= STEPS
    named = {alarm.name for alarm in monitor.alarms}
    assert named & NAMES[fault], f"{fault}: named {named or 'nothing'}"


@needs("transformers", "accelerate")
@pytest.mark.parametrize("fault", NAMES)
def test_in_the_trainer(fault: str, tmp_path: Path) -> None:
    import transformers

    from unvanish.integrations.huggingface import UnvanishCallback

    class WithLoss(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = Sick(fault)

        def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
            logits = self.net(x)
            return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}

    rows = [{"x": x, "labels": y} for x, y in zip(*data(), strict=True)]
    callback = UnvanishCallback(tmp_path / "run", strict=True)
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path), max_steps=STEPS, per_device_train_batch_size=8,
        learning_rate=RATES.get(fault, 1e-2), save_strategy="no", report_to=[], use_cpu=True,
        disable_tqdm=True,
    )  # fmt: skip
    transformers.Trainer(
        model=WithLoss(), args=arguments, train_dataset=rows, callbacks=[callback]
    ).train()
    assert_named(callback.monitor, fault)


@needs("transformers", "accelerate")
def test_the_trainers_own_checkpointing_behind_frozen_embeddings(tmp_path: Path) -> None:
    import transformers

    from unvanish.integrations.huggingface import UnvanishCallback

    torch.manual_seed(0)
    sizes = {"n_layer": 2, "n_embd": 16, "n_head": 2, "vocab_size": 32, "n_positions": 16}
    model = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(**sizes, tie_word_embeddings=False)
    )
    for embedding in (model.transformer.wte, model.transformer.wpe):
        embedding.requires_grad_(False)
    rows = [{"input_ids": (t := torch.randint(32, (8,))), "labels": t} for _ in range(64)]
    callback = UnvanishCallback(tmp_path / "run", strict=True)
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path), max_steps=8, report_to=[], use_cpu=True, save_strategy="no",
        disable_tqdm=True, gradient_checkpointing=True,
        gradient_checkpointing_kwargs={"use_reentrant": True},
    )  # fmt: skip
    transformers.Trainer(
        model=model, args=arguments, train_dataset=rows, callbacks=[callback]
    ).train()
    assert callback.monitor is not None
    named = {alarm.name for alarm in callback.monitor.alarms}
    with Recording.open(tmp_path / "run") as recording:
        norms = recording.values("gradient_l2", "transformer.h.0.attn.c_attn.weight")[1]
    # Newer releases make the embeddings' output require a gradient themselves.
    assert named == (NAMES["checkpoint"] if np.isnan(norms).all() else set())


@needs("lightning")
@pytest.mark.parametrize("fault", NAMES)
def test_in_lightning(fault: str, tmp_path: Path) -> None:
    import lightning

    from unvanish.integrations.lightning import UnvanishCallback

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = Sick(fault)

        def training_step(self, batch: Any, index: int) -> torch.Tensor:
            return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            return torch.optim.AdamW(self.parameters(), lr=RATES.get(fault, 1e-2))

    callback = UnvanishCallback(tmp_path / "run", strict=True)
    trainer = lightning.Trainer(
        default_root_dir=tmp_path, max_steps=STEPS, accelerator="cpu", logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        callbacks=[callback],
    )  # fmt: skip
    trainer.fit(Module(), torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*data()), 8))
    assert_named(callback.monitor, fault)


def _keras_net(fault: str) -> Any:
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    inputs = layers.Input((8,))
    hidden = inputs
    for _ in range(12 if fault == "sigmoid" else 2):
        hidden = layers.Dense(8, activation="sigmoid" if fault == "sigmoid" else "tanh")(hidden)
    outputs = layers.Dense(3)(hidden)
    if fault == "nan":
        below: Callable[[Any], Any] = lambda x: keras.ops.log(x - 100)  # noqa: E731
        outputs = layers.Add()([outputs, layers.Lambda(below)(layers.Dense(3)(hidden))])
    return keras.Model(inputs, outputs)


@needs("keras")
@pytest.mark.parametrize("fault", ["sigmoid", "nan", "rate"])
def test_in_keras(fault: str, tmp_path: Path) -> None:
    import keras

    from unvanish.integrations.keras import UnvanishCallback

    model = _keras_net(fault)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(RATES.get(fault, 1e-2)), loss)
    callback = UnvanishCallback(tmp_path, strict=True)
    x, y = (np.asarray(one) for one in data())
    model.fit(x, y, batch_size=8, shuffle=False, verbose=0, callbacks=[callback])
    assert_named(callback.monitor, fault)
