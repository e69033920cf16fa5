"""TRL's supervised fine-tuning, by the Trainer's callback: undisturbed, and each fault named."""

import functools
import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

os.environ.setdefault("HF_HUB_OFFLINE", "1")
NEEDED = ("trl", "datasets", "transformers", "tokenizers")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {MISSING}"),
    pytest.mark.filterwarnings("ignore"),  # the frameworks' own
]

STEPS = 50
NAMES = {
    "sigmoid": {"depth-decay"},
    "nan": {"nonfinite-forward", "nonfinite-backward"},
    "rate": {"step-too-large"},
    "checkpoint": {"frozen-by-checkpoint"},
}


def language_model(fault: str) -> Any:
    import transformers

    torch.manual_seed(0)
    sizes = {"n_layer": 2, "n_embd": 16, "n_head": 2, "vocab_size": 32, "n_positions": 16}
    model: Any = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(**sizes, tie_word_embeddings=False)
    )
    if fault == "sigmoid":
        trunk = [part for _ in range(12) for part in (nn.Linear(16, 16), nn.Sigmoid())]
        model.transformer.ln_f = nn.Sequential(model.transformer.ln_f, *trunk)
    if fault == "nan":
        calls: list[int] = []

        def broken(module: Any, arguments: Any, output: torch.Tensor) -> torch.Tensor:
            calls.append(1)
            return torch.log(output - 1e6) if len(calls) > 10 else output

        model.transformer.h[1].mlp.register_forward_hook(broken)
    if fault == "checkpoint":
        model.transformer.wte.requires_grad_(False)
        model.transformer.wpe.requires_grad_(False)
        block = model.transformer.h[0]
        inner = block.forward
        block.forward = lambda x, *rest, **options: checkpoint(
            functools.partial(inner, **options), x, *rest, use_reentrant=True
        )
    return model


def fine_tune(fault: str, folder: Path, callbacks: list[Any], steps: int) -> tuple[Any, list[Any]]:
    """The trained model's weights, and the losses in the log."""
    import datasets
    import transformers
    import trl
    from tokenizers import Tokenizer, models

    model = language_model(fault)
    rows = [{"input_ids": torch.randint(32, (8,)).tolist()} for _ in range(64)]
    arguments = trl.SFTConfig(
        output_dir=str(folder), max_steps=steps, report_to=[], use_cpu=True, save_strategy="no",
        disable_tqdm=True, bf16=False, learning_rate=1.0 if fault == "rate" else 1e-3,
        gradient_checkpointing=False, lr_scheduler_type="constant", logging_steps=1,
    )  # fmt: skip
    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(32)}, unk_token="w0"))
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, eos_token="w1", pad_token="w2", unk_token="w0"
    )
    trainer = trl.SFTTrainer(
        model=model, args=arguments, train_dataset=datasets.Dataset.from_list(rows),
        processing_class=tokenizer, callbacks=callbacks,
    )  # fmt: skip
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return [value.clone() for value in model.state_dict().values()], losses


def test_fine_tuning_is_not_disturbed(tmp_path: Path) -> None:
    from unvanish.integrations.huggingface import UnvanishCallback

    expected, losses = fine_tune("", tmp_path / "plain", [], 12)
    callback = UnvanishCallback(tmp_path / "run", strict=True)
    found, watched = fine_tune("", tmp_path / "watched", [callback], 12)
    assert len(losses) == 12
    assert watched == losses
    assert all(map(torch.equal, found, expected))
    assert callback.monitor is not None
    assert callback.monitor.steps == 12
    assert callback.monitor.alarms == ()


@pytest.mark.parametrize("fault", NAMES)
def test_a_fault_is_named_in_fine_tuning(fault: str, tmp_path: Path) -> None:
    from unvanish.integrations.huggingface import UnvanishCallback

    callback = UnvanishCallback(tmp_path / "run", strict=True)
    fine_tune(fault, tmp_path, [callback], STEPS)
    assert callback.monitor is not None
    assert callback.monitor.steps <= STEPS
    named = {alarm.name for alarm in callback.monitor.alarms}
    assert named & NAMES[fault], named
