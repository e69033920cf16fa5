"""All guided lessons, in the order in which they build on each other."""

from unvanish.lab.guided import Guided
from unvanish.lab.guided_blocks import BLOCKS
from unvanish.lab.guided_layers import LAYERS
from unvanish.lab.guided_time import TIME

GUIDED: tuple[Guided, ...] = (*LAYERS, *BLOCKS, *TIME)
