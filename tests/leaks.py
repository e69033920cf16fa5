"""How many tensors are alive: what a step leaves behind grows with the number of steps.

Tests of leaks repeat a thing many times and ask for fewer new tensors than repetitions: exact
counts would blame this test for what threads and late imports of others do meanwhile.
"""

import gc

from torch import Tensor


def live_tensors() -> int:
    """All tensors that Python knows of, garbage that nobody has collected yet included."""
    # By type: asking an instance would wake lazy attributes of whatever else is alive.
    return sum(issubclass(type(thing), Tensor) for thing in gc.get_objects())
