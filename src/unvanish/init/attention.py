"""torch's own attention module: queries, keys and values orthogonal each, by themselves.

Values and the output projection carry a branch's factor; queries and keys do not, as softmax takes
no notice of how large the stream is. Attention that is written with linear layers is taken care of
where linear layers are.
"""

import torch
from torch import nn

from unvanish.init.draws import orthogonal
from unvanish.init.report import Change
from unvanish.init.situation import Situation


@torch.no_grad()
def apply(situation: Situation) -> None:
    """Write every attention module whose parameters may change."""
    for path, module in situation.model.named_modules():
        if not isinstance(module, nn.MultiheadAttention):
            continue
        own = {n: p for n, p in module.named_parameters() if not n.startswith("bias_")}
        names = [f"{path}.{name}" if path else name for name in own]
        if situation.permitted.reason(names) is not None:
            continue
        value, output = situation.attention_gains.get(path, (1.0, 1.0))
        for name, parameter in own.items():
            if parameter.dim() < 2:
                parameter.zero_()
                continue
            blocks = parameter.chunk(3) if name == "in_proj_weight" else (parameter,)
            for place, block in enumerate(blocks):
                ends, carries = name == "out_proj.weight", place == 2 or name == "v_proj_weight"
                gain = output if ends else value if carries else 1.0
                block.copy_(gain * orthogonal(block.shape[0], block.shape[1], situation.generator))
        situation.changes.append(
            Change(
                module=path,
                method="attention orthogonal",
                parameters=tuple(names),
                numbers={"value_gain": value, "output_gain": output},
            )
        )
