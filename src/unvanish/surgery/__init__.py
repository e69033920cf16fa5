"""Surgery: edits to any model, on a copy, keeping the names of what is kept.

>>> from torch import nn
>>> from unvanish import surgery
>>> net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
>>> norm = surgery.Part(type="torch.nn.LayerNorm", arguments={"normalized_shape": 8})
>>> treated = surgery.apply(net, [surgery.Edit(action="insert", where=("0",), part=norm)])
>>> list(treated.state_dict())
['0.weight', '0.bias', '0.norm.weight', '0.norm.bias', '2.weight', '2.bias']
"""

from unvanish.errors import CannotCut as CannotCut
from unvanish.surgery.controls import Controls as Controls
from unvanish.surgery.edits import Edit as Edit
from unvanish.surgery.edits import Part as Part
from unvanish.surgery.files import load as load
from unvanish.surgery.files import save as save
from unvanish.surgery.operation import apply as apply
from unvanish.surgery.operation import rebuild as rebuild
from unvanish.surgery.operation import resolved as resolved
from unvanish.surgery.optimizers import carried as carried
from unvanish.surgery.replacing import recurrent_part as recurrent_part
from unvanish.surgery.rewriting import activations_called as activations_called

__all__ = [
    "CannotCut",
    "Controls",
    "Edit",
    "Part",
    "activations_called",
    "apply",
    "carried",
    "load",
    "rebuild",
    "recurrent_part",
    "resolved",
    "save",
]
