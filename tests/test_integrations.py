"""The frameworks' own training loops: the same losses to the bit, a fault named within 50 steps."""

import importlib.util
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from unvanish import Recording

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("HF_HUB_OFFLINE", "1")


def needs(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        importlib.util.find_spec(name) is None, reason=f"{name} is not installed"
    )


pytestmark = pytest.mark.filterwarnings("ignore")  # the frameworks' own


def sigmoid_net(depth: int, width: int = 8, outputs: int = 3) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(width, width), nn.Sigmoid()]
    return nn.Sequential(*layers, nn.Linear(width, outputs))


# transformers.Trainer


class Classifier(nn.Module):
    """What the Trainer asks of a model: labels in, a loss out."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.body = (
            sigmoid_net(depth)
            if depth > 3
            else nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))
        )

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.body(x)
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def fit_trainer(
    folder: Path, callbacks: list[Any], model: nn.Module, **options: Any
) -> list[float]:
    import transformers

    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    rows = [
        {
            "x": torch.randn(8, generator=generator),
            "labels": torch.randint(3, (), generator=generator),
        }
        for _ in range(64)
    ]
    losses: list[float] = []

    class Listening(transformers.TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if "loss" in logs:
                losses.append(logs["loss"])

    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        max_steps=12,
        per_device_train_batch_size=8,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        **options,
    )
    trainer = transformers.Trainer(
        model=model, args=arguments, train_dataset=rows, callbacks=[*callbacks, Listening()]
    )
    trainer.train()
    return losses


@needs("transformers")
@needs("accelerate")
@pytest.mark.parametrize("options", [{}, {"gradient_accumulation_steps": 2, "max_grad_norm": 0.1}])
def test_the_trainer_is_not_disturbed(options: dict[str, Any], tmp_path: Path) -> None:
    from unvanish.integrations.huggingface import UnvanishCallback

    torch.manual_seed(5)
    plain, watched = Classifier(1), Classifier(1)
    watched.load_state_dict(plain.state_dict())
    expected = fit_trainer(tmp_path / "a", [], plain, **options)
    callback = UnvanishCallback(strict=True)
    found = fit_trainer(tmp_path / "b", [callback], watched, **options)
    assert found == expected
    assert all(map(torch.equal, watched.state_dict().values(), plain.state_dict().values()))
    monitor = callback.monitor
    assert monitor is not None
    assert monitor.closed
    assert monitor.steps == 12
    assert monitor.alarms == ()
    with Recording.open(tmp_path / "b" / "unvanish") as recording:
        assert set(recording.tensors) == {name for name, _ in watched.named_parameters()}
        if options:
            _, total = recording.scalars("gradient_l2")
            assert float(total.max()) < 0.1001  # what the optimizer used: clipped
            assert set(recording.scalars("backwards")[1]) == {2.0}


@needs("transformers")
@needs("accelerate")
def test_a_sick_model_is_named_in_the_trainer(tmp_path: Path) -> None:
    from unvanish.integrations.huggingface import UnvanishCallback

    callback = UnvanishCallback(strict=True)
    fit_trainer(tmp_path, [callback], Classifier(12))
    assert callback.monitor is not None
    assert callback.monitor.alarms[0].name == "depth-decay"


@needs("transformers")
@needs("peft")
def test_lora_at_its_start_is_no_alarm(tmp_path: Path) -> None:
    import peft
    import transformers

    from unvanish.integrations.huggingface import UnvanishCallback

    torch.manual_seed(0)
    sizes = {"n_layer": 2, "n_embd": 16, "n_head": 2, "vocab_size": 32, "n_positions": 16}
    base = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes))
    model = peft.get_peft_model(base, peft.LoraConfig(r=4, target_modules=["c_attn"]))
    rows = [{"input_ids": (t := torch.randint(32, (8,))), "labels": t} for _ in range(32)]
    callback = UnvanishCallback(tmp_path, strict=True)
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path), max_steps=8, report_to=[], use_cpu=True, save_strategy="no",
        disable_tqdm=True,
    )  # fmt: skip
    transformers.Trainer(
        model=model, args=arguments, train_dataset=rows, callbacks=[callback]
    ).train()
    assert callback.monitor is not None
    assert callback.monitor.steps == 8
    assert callback.monitor.alarms == ()


# Lightning


def lightning_module(depth: int, manual: bool) -> Any:
    import lightning

    class Net(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = (
                sigmoid_net(depth)
                if depth > 3
                else nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))
            )
            self.automatic_optimization = not manual
            self.seen: list[float] = []

        def training_step(self, batch: Any, index: int) -> Any:
            loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
            self.seen.append(float(loss.detach()))
            if not manual:
                return loss
            optimizer = self.optimizers()
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
            return None

        def configure_optimizers(self) -> Any:
            return torch.optim.AdamW(self.parameters(), lr=1e-2)

    torch.manual_seed(5)
    return Net()


def fit_lightning(folder: Path, callbacks: list[Any], model: Any, **options: Any) -> list[float]:
    import lightning

    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    data = torch.utils.data.TensorDataset(
        torch.randn(96, 8, generator=generator), torch.randint(3, (96,), generator=generator)
    )
    trainer = lightning.Trainer(
        default_root_dir=folder, max_epochs=1, accelerator="cpu", logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        callbacks=callbacks, **options,
    )  # fmt: skip
    trainer.fit(model, torch.utils.data.DataLoader(data, 8))
    return model.seen


LIGHTNING = [
    pytest.param(False, {}, 12, id="automatic"),
    pytest.param(True, {}, 12, id="manual"),
    pytest.param(False, {"accumulate_grad_batches": 2, "gradient_clip_val": 0.1}, 6, id="clipped"),
    pytest.param(False, {"precision": "bf16-mixed"}, 12, id="bf16"),
]


@needs("lightning")
@pytest.mark.parametrize(("manual", "options", "steps"), LIGHTNING)
def test_lightning_is_not_disturbed(
    manual: bool, options: dict[str, Any], steps: int, tmp_path: Path
) -> None:
    from unvanish.integrations.lightning import UnvanishCallback

    plain, watched = lightning_module(1, manual), lightning_module(1, manual)
    expected = fit_lightning(tmp_path, [], plain, **options)
    callback = UnvanishCallback(tmp_path / "run", strict=True)
    found = fit_lightning(tmp_path, [callback], watched, **options)
    assert found == expected
    assert all(map(torch.equal, watched.state_dict().values(), plain.state_dict().values()))
    monitor = callback.monitor
    assert monitor is not None
    assert monitor.closed
    assert monitor.steps == steps
    assert monitor.alarms == ()
    with Recording.open(tmp_path / "run") as recording:
        _, values = recording.values("gradient_l2", "net.0.weight")
        assert len(values) == steps
        assert (values > 0).all()
        if "gradient_clip_val" in options:
            assert float(recording.scalars("gradient_l2")[1].max()) < 0.1001


@needs("lightning")
def test_a_sick_model_is_named_in_lightning(tmp_path: Path) -> None:
    from unvanish.integrations.lightning import UnvanishCallback

    callback = UnvanishCallback(tmp_path / "run", strict=True)
    fit_lightning(tmp_path, [callback], lightning_module(12, False))
    assert callback.monitor is not None
    assert callback.monitor.alarms[0].name == "depth-decay"


# Keras


def keras_model(depth: int) -> Any:
    import keras

    keras.utils.set_random_seed(0)
    kind = "sigmoid" if depth > 3 else "tanh"
    hidden = [keras.layers.Dense(8, activation=kind) for _ in range(depth)]
    model = keras.Sequential([keras.layers.Input((8,)), *hidden, keras.layers.Dense(3)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-2), loss)
    return model


def fit_keras(model: Any, callbacks: list[Any]) -> tuple[list[float], list[np.ndarray]]:
    random = np.random.default_rng(0)
    x, y = random.normal(size=(96, 8)).astype("float32"), random.integers(3, size=96)
    history = model.fit(x, y, batch_size=8, shuffle=False, verbose=0, callbacks=callbacks)
    return history.history["loss"], model.get_weights()


@needs("keras")
def test_keras_is_not_disturbed(tmp_path: Path) -> None:
    from unvanish.integrations.keras import UnvanishCallback

    plain, watched = keras_model(2), keras_model(2)
    expected, weights = fit_keras(plain, [])
    callback = UnvanishCallback(tmp_path, strict=True)
    found, final = fit_keras(watched, [callback])
    assert found == expected
    assert all(map(np.array_equal, final, weights))
    assert callback.monitor is not None
    assert callback.monitor.steps == 12
    assert callback.monitor.alarms == ()
    assert "apply" not in vars(watched.optimizer)
    with Recording.open(tmp_path) as recording:
        assert len(recording.values("gradient_l2", recording.tensors[0])[0]) == 12
        assert any(name.endswith("kernel") for name in recording.tensors)
        assert len(recording.values("update_to_weight", recording.tensors[0])[0]) > 0


@needs("keras")
def test_a_sick_model_is_named_in_keras(tmp_path: Path) -> None:
    import unvanish
    from unvanish.integrations.keras import UnvanishCallback, as_module

    model = keras_model(12)
    callback = UnvanishCallback(tmp_path, strict=True)
    fit_keras(model, [callback])
    assert callback.monitor is not None
    assert callback.monitor.alarms[0].name == "depth-decay"
    batch = torch.randn(32, 8), torch.randint(3, (32,))
    fresh = as_module(keras_model(12))
    found = unvanish.diagnose(fresh, batch, nn.CrossEntropyLoss()).findings
    assert found[0].name == "depth-decay"
    assert any("dense" in place for place in found[0].where)


def legacy_file(path: Path, time_major: bool = False, wrapped: bool = False) -> tuple[Any, Any]:
    """A recurrent net as Keras 2 would have written it, and what it computes on a batch."""
    import json

    import h5py
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    recurrent = layers.LSTM(6, return_sequences=True, name="first")
    model = keras.Sequential(
        [
            layers.Input((5, 4)),
            layers.Bidirectional(recurrent) if wrapped else recurrent,
            layers.GRU(5),
            layers.Dense(3),
        ]
    )
    batch = np.random.default_rng(0).normal(size=(7, 5, 4)).astype("float32")
    model.save(path)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        for layer in config["config"]["layers"]:
            layer = layer["config"].get("layer", layer)
            layer["config"].pop("optional", None)
            if layer["class_name"] in ("LSTM", "GRU"):
                layer["config"] |= {"time_major": time_major, "implementation": 2}
        file.attrs["model_config"] = json.dumps(config).encode()
        file.attrs["keras_version"] = b"2.12.0"
        file.attrs["backend"] = b"tensorflow"
    return batch, model.predict(batch, verbose=0)


@needs("keras")
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_legacy_file_is_loaded(wrapped: bool, tmp_path: Path) -> None:
    import keras

    import unvanish
    from unvanish.integrations.keras import as_module, load

    path = tmp_path / "old.h5"
    batch, expected = legacy_file(path, wrapped=wrapped)
    with pytest.raises(ValueError, match="time_major"):  # why load is there at all
        keras.models.load_model(path)
    model = load(path)
    np.testing.assert_allclose(model.predict(batch, verbose=0), expected, rtol=1e-5, atol=1e-6)
    targets = torch.arange(7) % 3
    diagnosis = unvanish.diagnose(
        as_module(model), (torch.tensor(batch), targets), nn.CrossEntropyLoss()
    )
    assert diagnosis.healthy, str(diagnosis)
    assert diagnosis.trace.ops


@needs("keras")
def test_a_file_that_cannot_be_loaded_is_said_to(tmp_path: Path) -> None:
    import unvanish
    from unvanish.integrations.keras import load

    path = tmp_path / "old.h5"
    legacy_file(path, time_major=True)
    with pytest.raises(unvanish.UnvanishError, match="first takes time first"):
        load(path)
    path.write_bytes(b"nothing")
    with pytest.raises(unvanish.UnvanishError, match=r"cannot load .*old\.h5"):
        load(path)
    with pytest.raises(unvanish.UnvanishError, match="no file"):
        load(tmp_path / "none.h5")
