"""Initial values for models that exist already: one call, in place, nothing else changes.

>>> import torch, unvanish
>>> net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
>>> batch = torch.randn(32, 4), torch.randint(2, (32,))
>>> report = unvanish.init.he_(net, batch, torch.nn.CrossEntropyLoss())
>>> [change.module for change in report.changes]
['0', '2']
"""

from unvanish.init.by_name import fixup_ as fixup_
from unvanish.init.by_name import he_ as he_
from unvanish.init.by_name import lsuv_ as lsuv_
from unvanish.init.by_name import orthogonal_ as orthogonal_
from unvanish.init.by_name import xavier_ as xavier_
from unvanish.init.critical import critical_ as critical_
from unvanish.init.report import Change as Change
from unvanish.init.report import InitReport as InitReport
from unvanish.init.report import Left as Left
from unvanish.init.report import Readings as Readings

__all__ = [
    "Change",
    "InitReport",
    "Left",
    "Readings",
    "critical_",
    "fixup_",
    "he_",
    "lsuv_",
    "orthogonal_",
    "xavier_",
]
