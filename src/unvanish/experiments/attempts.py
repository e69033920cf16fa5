"""What was tried, each experiment once: its answer, how long it took, and why it could not be made."""

import time
from collections.abc import Callable
from typing import Any

from unvanish.errors import UnvanishError


class Attempts:
    """The experiments of one diagnosis, by what they were asked.

    ``tried`` says what was done and what it took, ``failures`` what could not be done and why.
    """

    def __init__(self) -> None:
        self.tried: list[str] = []
        self.failures: list[str] = []
        self._answers: dict[tuple[Any, ...], Any] = {}

    def once(self, key: tuple[Any, ...], read: Callable[[], Any]) -> Any:
        """What is worked out the first time it is asked for; nobody has to know of it."""
        if key not in self._answers:
            self._answers[key] = read()
        return self._answers[key]

    def run(self, key: tuple[Any, ...], said: str, experiment: Callable[[], Any]) -> Any:
        """Run an experiment once; one that raises becomes a blind spot with its reason."""
        return self.once(key, lambda: self._attempted(said, experiment))

    def _attempted(self, said: str, experiment: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        try:
            answer = experiment()
        except (UnvanishError, RuntimeError, TypeError, ValueError, AttributeError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            self.failures.append(f"experiment not possible: {said}: {reason}")
            return None
        self.tried.append(f"{said} ({time.perf_counter() - start:.2f} s)")
        return answer
