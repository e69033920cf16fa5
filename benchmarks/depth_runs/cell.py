"""One line of a table, whatever is trained in it; and a figure that is measured without training."""

from collections.abc import Callable
from dataclasses import dataclass

FACTORS = (1 / 3, 1.0, 3.0)

Figures = dict[str, float]
Trial = Callable[[float, int, bool], Figures]


@dataclass(frozen=True, slots=True)
class Cell:
    """Who, on what, how deep (layers, blocks or time steps), with which optimizer.

    ``trial(rate, seed, refit)`` trains once and gives ``validation``, by which the rate is chosen,
    and ``test``, both between 0 and 1, ``loss`` and ``seconds``. ``center`` is the middle of the
    three rates.
    """

    name: str
    task: str
    depth: int
    optimizer: str
    center: float
    trial: Trial

    @property
    def key(self) -> str:
        return f"{self.name} | {self.task} | {self.depth} | {self.optimizer}"

    def run(self, factor: float, seed: int, refit: bool = False) -> Figures:
        rate = factor * self.center
        return {"rate": rate, **self.trial(rate, seed, refit)}


@dataclass(frozen=True, slots=True)
class Measurement:
    """Something read off at the start, beside what theory expects of it."""

    name: str
    read: Callable[[], Figures]
