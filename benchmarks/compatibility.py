"""``diagnose`` on a real architecture of each library, from its configuration, without weights.

    python benchmarks/compatibility.py              # writes docs/compatibility.md and the record
    python benchmarks/compatibility.py timm         # one of them, printed

Nothing is downloaded and the data is random. The models are fresh, with the initial values that their
libraries give them: a finding is a fault of the model at this start, or of ours. What is not installed
or fails is in the table, too. Each runs in a process of its own.
"""

import argparse
import importlib.metadata
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from torch import nn

import unvanish

HERE = Path(__file__).parent
RECORD = HERE / "records" / "compatibility.json"
PAGE = HERE.parent / "docs" / "compatibility.md"
Program = tuple[nn.Module, Any, Any, Any]
"""Model, data, loss, forward; one of the last two is None."""


def classes(model: nn.Module, size: int = 64, count: int = 10) -> Program:
    """Pictures and labels."""
    batch = torch.randn(8, 3, size, size), torch.arange(8) % count
    return model, batch, nn.CrossEntropyLoss(), None


def resnet_torchvision() -> Program:
    import torchvision

    return classes(torchvision.models.resnet18(weights=None, num_classes=10))


def vit_timm() -> Program:
    import timm

    return classes(timm.create_model("vit_tiny_patch16_224", img_size=64, num_classes=10))


def convnext_timm() -> Program:
    import timm

    return classes(timm.create_model("convnext_atto", num_classes=10))


def words(model: nn.Module) -> Program:
    tokens = torch.randint(100, (4, 32))
    return model, [tokens], None, lambda net, batch: net(input_ids=batch, labels=batch).loss


def llama_transformers() -> Program:
    import transformers

    config = transformers.LlamaConfig(
        vocab_size=100, hidden_size=128, intermediate_size=256, num_hidden_layers=8,
        num_attention_heads=4, num_key_value_heads=2,
    )  # fmt: skip
    return words(transformers.LlamaForCausalLM(config))


def gpt2_transformers() -> Program:
    import transformers

    return words(transformers.GPT2LMHeadModel(transformers.GPT2Config(vocab_size=100, n_layer=6)))


def t5_transformers() -> Program:
    import transformers

    config = transformers.T5Config(vocab_size=100, d_model=128, d_ff=256, num_layers=4, num_heads=4)
    config.decoder_start_token_id = 0
    return words(transformers.T5ForConditionalGeneration(config))


def yolo_ultralytics() -> Program:
    from ultralytics import YOLO
    from ultralytics.cfg import get_cfg

    model: Any = YOLO("yolo11n.yaml").model
    model.args = get_cfg()
    for parameter in model.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    batch = {
        "img": torch.rand(2, 3, 64, 64),
        "batch_idx": torch.tensor([0.0, 1.0]),
        "cls": torch.zeros(2, 1),
        "bboxes": torch.tensor([[0.5, 0.5, 0.3, 0.3], [0.4, 0.4, 0.3, 0.3]]),
    }
    return model.train(), [batch], None, lambda net, one: net(one)[0].sum()


def decoder_x_transformers() -> Program:
    from x_transformers import AutoregressiveWrapper, Decoder, TransformerWrapper

    layers = Decoder(dim=128, depth=6, heads=4, rotary_pos_emb=True)
    net = AutoregressiveWrapper(
        TransformerWrapper(num_tokens=100, max_seq_len=33, attn_layers=layers)
    )
    return net, [torch.randint(100, (4, 33))], None, lambda model, batch: model(batch)


def graph() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return torch.randn(64, 16), torch.randint(64, (2, 256)), torch.arange(64) % 4


def gat_geometric() -> Program:
    from torch_geometric.nn import GAT

    x, edges, targets = graph()
    return GAT(16, 32, 3, 4), ((x, edges), targets), nn.CrossEntropyLoss(), None


def gcn_geometric() -> Program:
    from torch_geometric.nn import GCN

    x, edges, targets = graph()
    return GCN(16, 32, 3, 4), ((x, edges), targets), nn.CrossEntropyLoss(), None


def unet_diffusers() -> Program:
    from diffusers import UNet2DModel

    model = UNet2DModel(
        sample_size=16, in_channels=3, out_channels=3, block_out_channels=(32, 64),
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"), norm_num_groups=8,
    )  # fmt: skip

    def step(net: Any, batch: Any) -> torch.Tensor:
        noisy, at, noise = batch
        return nn.functional.mse_loss(net(noisy, at).sample, noise)

    batch = torch.randn(4, 3, 16, 16), torch.randint(1000, (4,)), torch.randn(4, 3, 16, 16)
    return model, [batch], None, step


def mobile_keras() -> Program:
    import keras

    from unvanish.integrations.keras import as_module

    net = keras.applications.MobileNetV2((64, 64, 3), alpha=0.35, weights=None, classes=10)
    net.layers[-1].activation = keras.activations.linear
    batch = torch.randn(8, 64, 64, 3), torch.arange(8) % 10
    return as_module(net), batch, nn.CrossEntropyLoss(), None


def lora_peft() -> Program:
    import peft
    import transformers

    base = transformers.GPT2LMHeadModel(transformers.GPT2Config(vocab_size=100, n_layer=6))
    return words(peft.get_peft_model(base, peft.LoraConfig(r=4, target_modules=["c_attn"])))


MODELS: dict[str, tuple[str, str, Callable[[], Program]]] = {
    "torchvision": ("torchvision", "ResNet-18", resnet_torchvision),
    "timm": ("timm", "ViT tiny", vit_timm),
    "timm-convnext": ("timm", "ConvNeXt atto", convnext_timm),
    "transformers": ("transformers", "GPT-2, 6 layers", gpt2_transformers),
    "transformers-llama": ("transformers", "Llama, 8 layers", llama_transformers),
    "transformers-t5": ("transformers", "T5, 4 + 4 layers", t5_transformers),
    "peft": ("peft", "LoRA on GPT-2", lora_peft),
    "ultralytics": ("ultralytics", "YOLO11n, its own loss", yolo_ultralytics),
    "x-transformers": ("x-transformers", "decoder, 6 layers, rotary", decoder_x_transformers),
    "torch_geometric": ("torch-geometric", "GAT, 3 layers", gat_geometric),
    "torch_geometric-gcn": ("torch-geometric", "GCN, 3 layers", gcn_geometric),
    "diffusers": ("diffusers", "UNet2DModel, 2 levels", unet_diffusers),
    "keras": ("keras", "MobileNetV2 0.35", mobile_keras),
}


def one(key: str) -> dict[str, Any]:
    """Diagnose one of them."""
    library, name, make = MODELS[key]
    row: dict[str, Any] = {"library": library, "model": name, "version": None}
    try:
        row["version"] = importlib.metadata.version(library)
        torch.manual_seed(0)
        model, data, loss, forward = make()
    except ImportError as error:  # PackageNotFoundError is one
        return row | {"failed": f"not installed: {error}"}
    except Exception as error:
        return row | {"failed": f"could not be made: {type(error).__name__}: {error}"}
    model.train()
    started = time.perf_counter()
    try:
        found = unvanish.diagnose(model, data, loss, forward=forward)
    except unvanish.UnvanishError as error:
        return row | {"failed": str(error)}
    return row | {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "ops": len(found.trace.ops),
        "seconds": round(time.perf_counter() - started, 1),
        "findings": [
            {"name": f.name, "severity": f.severity, "where": f.where[:4], "detail": f.detail}
            for f in found.findings
        ],
        "expected": [expected.name for expected in found.expected],
    }


def line(row: dict[str, Any]) -> str:
    if "failed" in row:
        said = str(row["failed"]).splitlines()[0]
        return f"| {row['library']} | {row['version'] or ''} | {row['model']} | | | {said} | |"
    named = [f"{f['name']} ({f['severity']})" for f in row["findings"]]
    return (
        f"| {row['library']} | {row['version']} | {row['model']} | {row['parameters']:,} | "
        f"{row['ops']:,} | {', '.join(named) or 'works, no finding'} | {row['seconds']} |"
    )


def page(rows: list[dict[str, Any]]) -> str:
    head = [
        "# Compatibility",
        "",
        "`unvanish.diagnose` on a real architecture of each library: built from its configuration,",
        "without weights, with random data, in training mode. Written by",
        "`python benchmarks/compatibility.py`; what failed is in the table, too. Seconds are those of",
        f"`diagnose` alone, on a shared machine with {os.cpu_count()} cores.",
        "",
        f"torch {torch.__version__}, unvanish {unvanish.__version__}, "
        f"Python {sys.version.split()[0]}.",
        "",
        "| library | version | model | parameters | ops | result | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*head, *map(line, rows)]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="?", choices=list(MODELS))
    only = parser.parse_args().only
    if only is not None:
        print(json.dumps(one(only)))
        return
    rows: list[dict[str, Any]] = []
    for key in MODELS:
        command = [sys.executable, __file__, key]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        last = (done.stdout.strip().splitlines() or [""])[-1]
        library, name, _ = MODELS[key]
        said = (done.stderr.strip().splitlines() or ["no word"])[-1]
        failed = {"library": library, "model": name, "version": None, "failed": said}
        rows.append(failed if done.returncode else json.loads(last))
        print(line(rows[-1]), flush=True)
    RECORD.write_text(json.dumps({"torch": torch.__version__, "rows": rows}, indent=1) + "\n")
    PAGE.write_text(page(rows))


if __name__ == "__main__":
    main()
