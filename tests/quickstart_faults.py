"""Faults put into a script that nobody touches: the libraries under it are what is changed.

Each is put in before the script begins, in a process of its own.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

DEPTH = 12
NAMES = {
    "sigmoid": {"depth-decay"},
    "nan": {"nonfinite-forward", "nonfinite-backward"},
    "rate": {"step-too-large"},
    "checkpoint": {"frozen-by-checkpoint"},
}


def put(fault: str, script: str) -> None:
    """Put one of :data:`NAMES` into whatever ``script`` is going to train."""
    own = {
        ("sigmoid", "keras_engineers"): _keras_trunk,
        ("nan", "keras_engineers"): _keras_branch,
        ("sigmoid", "ultralytics_train"): _detector_trunk,
        ("checkpoint", "peft_lora"): _reentrant_blocks,
    }
    change = own.get((fault, script)) or functools.partial(CHANGES[fault], script)
    change()


# What breaks in which script: the kind of module that is made sick.
TRUNKS = {
    "transformers_trainer": ("transformers.models.qwen3.modeling_qwen3", "Qwen3Model", "norm"),
    "trl_sft": ("transformers.models.qwen2.modeling_qwen2", "Qwen2Model", "norm"),
    "peft_lora": ("transformers.models.llama.modeling_llama", "LlamaModel", "norm"),
    "accelerate_loop": ("transformers.models.bert.modeling_bert", "BertModel", "pooler"),
}
BRANCHES = {
    "transformers_trainer": "Qwen3MLP",
    "trl_sft": "Qwen2MLP",
    "peft_lora": "LlamaMLP",
    "accelerate_loop": "BertIntermediate",
    "pytorch_quickstart": "ReLU",
    "lightning_15_minutes": "ReLU",
}


def _trunk(width: int, picture: bool) -> list[nn.Module]:
    """Linear layers (of a picture: 1 x 1 convolutions) with a sigmoid behind each."""
    layers: list[nn.Module] = []
    for _ in range(DEPTH):
        layers += [nn.Conv2d(width, width, 1) if picture else nn.Linear(width, width), nn.Sigmoid()]
    return layers


def _deep_sigmoid(script: str) -> None:
    if script not in TRUNKS:
        _deep_sequential()
        return
    home, kind, part = TRUNKS[script]
    owner = getattr(__import__(home, fromlist=[kind]), kind)
    build = owner.__init__

    @functools.wraps(build)
    def begin(self: Any, *arguments: Any, **options: Any) -> None:
        build(self, *arguments, **options)
        trunk = _trunk(self.config.hidden_size, picture=False)
        setattr(self, part, nn.Sequential(getattr(self, part), *trunk))

    owner.__init__ = begin


def _deep_sequential() -> None:
    """Every ``nn.Sequential(Linear, ReLU, ...)`` is a deep one."""
    build = nn.Sequential.__init__

    def begin(self: Any, *layers: Any) -> None:
        if len(layers) > 1 and isinstance(layers[0], nn.Linear):
            trunk = _trunk(layers[0].out_features, picture=False)
            layers = (*layers[:2], *trunk, *layers[2:])
        build(self, *layers)

    nn.Sequential.__init__ = begin  # type: ignore[method-assign]


def _broken_branch(script: str) -> None:
    """From its fourth call in training on, one kind of module adds the logarithm of what is negative."""
    kind, calls = BRANCHES[script], [0]

    def broken(module: nn.Module, inputs: Any, output: Any) -> Any:
        if type(module).__name__ != kind or not module.training:
            return None
        calls[0] += 1
        return output + torch.log(output - 1e6) if calls[0] > 3 else None

    nn.modules.module.register_module_forward_hook(broken)


def _higher_rate(script: str) -> None:
    """Every group of every optimizer begins with a thousand times its rate."""
    add = torch.optim.Optimizer.add_param_group

    def add_param_group(self: Any, group: dict[str, Any]) -> None:
        add(self, group)
        self.param_groups[-1]["lr"] *= 1000

    torch.optim.Optimizer.add_param_group = add_param_group  # type: ignore[method-assign]


def _reentrant(script: str) -> None:
    """The layer that the data comes to first is recomputed: nothing there asks for a gradient."""
    first: list[nn.Module] = []
    for kind in (nn.Linear, nn.Embedding, nn.Conv2d):
        kind.forward = _recomputed(kind.forward, first)  # type: ignore[method-assign]


def _recomputed(forward: Callable[..., Any], first: list[nn.Module]) -> Callable[..., Any]:
    def recompute(self: Any, x: Any, *rest: Any, **options: Any) -> Any:
        if not torch.is_grad_enabled() or not self.training or (first and self is not first[0]):
            return forward(self, x, *rest, **options)
        first[:] = [self]
        whole = functools.partial(forward, self, **options)
        return checkpoint(whole, x, *rest, use_reentrant=True)

    return recompute


CHANGES: dict[str, Callable[[str], None]] = {
    "sigmoid": _deep_sigmoid,
    "nan": _broken_branch,
    "rate": _higher_rate,
    "checkpoint": _reentrant,
}


def _detector_trunk() -> None:
    from ultralytics.models.yolo.detect import DetectionTrainer

    get = DetectionTrainer.get_model

    def get_model(self: Any, *arguments: Any, **options: Any) -> Any:
        net = get(self, *arguments, **options)
        stem = net.model[0]
        net.model[0] = nn.Sequential(stem, *_trunk(stem.conv.out_channels, picture=True))
        net.model[0].i, net.model[0].f, net.model[0].type = stem.i, stem.f, stem.type
        return net

    DetectionTrainer.get_model = get_model


def _reentrant_blocks() -> None:
    """The blocks behind frozen embeddings are recomputed: nothing that comes in asks for a gradient."""
    from transformers.models.llama.modeling_llama import LlamaDecoderLayer

    LlamaDecoderLayer.forward = _recomputed(LlamaDecoderLayer.forward, [])


def _keras_trunk() -> None:
    import keras

    build = keras.Sequential.__init__

    def begin(self: Any, layers: Any = None, **options: Any) -> None:
        if not layers:  # read from a file
            build(self, layers, **options)
            return
        dense = [keras.layers.Dense(128, activation="sigmoid") for _ in range(DEPTH)]
        build(self, [*layers[:-1], *dense, layers[-1]], **options)

    keras.Sequential.__init__ = begin


def _keras_branch() -> None:
    import keras

    calls = [0]

    def broken(module: nn.Module, inputs: Any, output: Any) -> Any:
        if not isinstance(module, keras.layers.GlobalAveragePooling2D):
            return None
        if not isinstance(output, torch.Tensor) or not torch.is_grad_enabled():
            return None
        calls[0] += 1
        return output + torch.log(output - 1e6) if calls[0] > 3 else None

    nn.modules.module.register_module_forward_hook(broken)
