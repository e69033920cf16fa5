"""What is known of each tensor so far: one column for each, all of them updated at once."""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from unvanish.alarms.series import Doubles
from unvanish.recording import StepReading, TensorEntry

Mask = NDArray[np.bool_]

_KEPT: Final[dict[str, float]] = {
    "gradient": math.nan,  # l2 in this step; NaN: None
    "log_gradient": math.nan,  # its log10; NaN: None or exactly zero
    "usual": math.nan,  # log_gradient, averaged over about the last ten steps
    "alive": 0.0,  # steps with a gradient other than zero
    "judged": 0.0,  # steps with a gradient
    "zero_run": 0.0,  # steps in a row with a gradient of exactly zero while weights moved
    "none_run": 0.0,  # steps in a row with None
    "log_weight": math.nan,  # log10 of the l2 norm of the tensor, when it was last read
    "log_weight_lately": math.nan,  # the same, twenty steps or more ago
    "log_weight_next": math.nan,  # what it will be compared to later
    "doubled_from": math.nan,  # step of the reading that it had doubled since at the next one
    "doubled_step": -math.inf,  # step of that next reading
    "update": math.nan,  # update to weight, when it was last read and finite
    "update_step": -math.inf,  # the step of that
    "update_most": 0.0,  # the largest so far
    "born": -math.inf,  # the last step that changed it from zero to something
    "large_step": -math.inf,  # the last step whose update replaces the tensor soon
    "large_since": math.nan,  # step since which every update read replaces the tensor soon
}

LARGE: Final = 1 / math.sqrt(20)
"""Twenty steps of this update to weight, in any directions, add up to the tensor's own size."""
YOUNG: Final = 20
"""Steps after which a weight that was zero is judged by its updates as any other."""


class Columns:
    """State of every watched tensor, as float64 arrays over the tensors in their order."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.elements: Doubles = np.zeros(0)
        self.matrix: Mask = np.zeros(0, dtype=bool)
        self.bias_of: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._kept = {key: np.zeros(0) for key in _KEPT}
        self.nonfinite: Mask = np.zeros(0, dtype=bool)
        self.reached: Mask = np.zeros(0, dtype=bool)
        self.zero: Mask = np.zeros(0, dtype=bool)
        self._compared_step = self._weighed_step = -YOUNG

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, key: str) -> Doubles:
        return self._kept[key]

    def add(self, entries: Sequence[TensorEntry]) -> None:
        """More tensors, after those that are known."""
        sizes = np.array([max(math.prod(entry.shape), 1) for entry in entries], dtype=float)
        shapes = [len(entry.shape) >= 2 and math.prod(entry.shape) > 1 for entry in entries]
        self.names += [entry.name for entry in entries]
        self.elements = np.concatenate([self.elements, sizes])
        self.matrix = np.concatenate([self.matrix, np.array(shapes, dtype=bool)])
        for key, start in _KEPT.items():
            fresh = np.full(len(entries), start)
            self._kept[key] = np.concatenate([self._kept[key], fresh])
        index = {name: place for place, name in enumerate(self.names)}
        partners = [index.get(_bias_beside(name), -1) for name in self.names]
        self.bias_of = np.array(partners, dtype=np.int64)

    def look(self, reading: StepReading) -> None:
        """Only this step's gradients: which are there, zero, not finite. Nothing is remembered."""
        values = reading.values
        largest = self._aligned(values.get("gradient_abs_max"))
        norms = np.fmax(self._aligned(values.get("gradient_l2")), largest)
        self.nonfinite = self._aligned(values.get("gradient_nonfinite")) > 0
        self.reached = ~np.isnan(norms)
        self.zero = (norms == 0) & ~self.nonfinite
        logs = np.log10(norms)
        logs[self.zero] = np.nan
        self._kept["gradient"], self._kept["log_gradient"] = norms, logs

    def remember(self, reading: StepReading, moving: bool) -> None:
        """Take the step into account that :meth:`look` saw. ``moving``: the weights may change."""
        kept = self._kept
        logs = kept["log_gradient"]
        kept["alive"] += self.reached & ~self.zero
        kept["judged"] += self.reached
        kept["none_run"] = np.where(self.reached, 0.0, kept["none_run"] + 1)
        kept["zero_run"] = np.where(self.reached & ~self.zero, 0.0, kept["zero_run"])
        if moving:
            kept["zero_run"] += self.zero
        usual = kept["usual"]
        kept["usual"] = np.where(
            np.isnan(usual), logs, np.where(np.isnan(logs), usual, usual + 0.1 * (logs - usual))
        )
        if "weight_rms" in reading.values:
            weight = self._aligned(reading.values["weight_rms"])
            known = np.isfinite(weight)
            logs = np.log10(weight) + 0.5 * np.log10(self.elements)
            self._remember_doubling(logs, reading.step)
            kept["log_weight"] = np.where(known, logs, kept["log_weight"])
            self._remember_weights(reading.step)
        if "update_to_weight" in reading.values:
            self._remember_updates(self._aligned(reading.values["update_to_weight"]), reading.step)

    def _remember_doubling(self, logs: Doubles, step: int) -> None:
        kept, before = self._kept, self._kept["log_weight"]
        if step - self._weighed_step <= 2 * YOUNG:  # over a longer time it may by learning
            doubled = self.matrix & np.isfinite(before) & (logs >= before + math.log10(2))
            kept["doubled_step"] = np.where(doubled, step, kept["doubled_step"])
            kept["doubled_from"] = np.where(doubled, self._weighed_step, kept["doubled_from"])
        self._weighed_step = step

    def _remember_weights(self, step: int) -> None:
        kept = self._kept
        if step - self._compared_step >= YOUNG:
            # Over a longer time a weight may double by learning.
            lately = step - self._compared_step <= 2 * YOUNG
            kept["log_weight_lately"] = kept["log_weight_next"] if lately else kept["log_weight"]
            self._compared_step = step
            kept["log_weight_next"] = kept["log_weight"]

    def _remember_updates(self, update: Doubles, step: int) -> None:
        kept = self._kept
        known = np.isfinite(update)
        kept["update"] = np.where(known, update, kept["update"])
        kept["update_step"] = np.where(known, step, kept["update_step"])
        kept["update_most"] = np.where(
            known, np.maximum(update, kept["update_most"]), kept["update_most"]
        )
        # What starts at zero passes through large updates on its way and is not thrown away.
        zero = np.isneginf(kept["log_weight"])
        kept["born"] = np.where(zero | ~(known | np.isnan(update)), step, kept["born"])
        large = known & self.matrix & (update >= LARGE) & (step - kept["born"] > YOUNG)
        kept["large_step"] = np.where(large, step, kept["large_step"])
        started = np.where(np.isnan(kept["large_since"]), step, kept["large_since"])
        kept["large_since"] = np.where(large, started, np.where(known, np.nan, kept["large_since"]))

    def grown(self) -> Mask:
        """Matrices that have doubled in the last twenty to sixty steps, but not out of nothing."""
        grown = self._kept["log_weight"] - self._kept["log_weight_lately"]
        return self.matrix & (grown >= math.log10(2)) & np.isfinite(grown)

    def named(self, mask: Mask, most: int = 8, backwards: bool = False) -> tuple[str, ...]:
        """Names of the tensors of a mask, in order or from the end."""
        places = np.flatnonzero(mask)
        places = places[::-1] if backwards else places
        return tuple(self.names[place] for place in places[:most])

    def _aligned(self, values: NDArray[np.float32] | None) -> Doubles:
        """One number for each tensor: NaN where the reading has none."""
        if values is None:
            return np.full(len(self), np.nan)
        if len(values) == len(self):
            return values.astype(np.float64)
        result = np.full(len(self), np.nan)
        result[: len(values)] = values[: len(self)]
        return result


def _bias_beside(name: str) -> str:
    """The name that the bias of this weight has in the same module; empty for other tensors."""
    module, dot, last = name.rpartition(".")
    return f"{module}{dot}{last.replace('weight', 'bias')}" if "weight" in last else ""
