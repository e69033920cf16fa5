"""Steps in time that look like depth, where the data of each step carries no gradient.

With a gradient at the inputs every step of a cell leads to them, so that no step lies on all ways.
Without it only the first step ends there, and the way through all later ones looks like layers.
"""

import itertools
from collections.abc import Sequence

from unvanish.probe.flow import WEIGHTED, Flow
from unvanish.trace import Layer


def without_steps(layers: Sequence[Layer], flow: Flow) -> tuple[Layer, ...]:
    """Of layers in a row that are calls of one module, each with data of its own, the last call."""
    readers = [call.module for call in flow.calls if call.fresh and call.function in WEIGHTED]
    kept: list[Layer] = []
    for (name, _), group in itertools.groupby(layers, lambda one: (one.name, one.parameters)):
        calls = list(group)
        reading = sum(path == name or path.startswith(f"{name}.") for path in readers)
        # The state that the first step starts from is made, not computed: that step ends the way.
        steps = len(calls) > 1 and reading >= len(calls)
        kept += calls[:1] if steps else calls
    return tuple(kept)
