"""One thing at a time, in the order of asking, except that what is urgent goes ahead of some."""

import contextlib
import heapq
import itertools
import threading
from collections.abc import Generator


class Turns:
    """Who may go now."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._tickets = itertools.count()
        self._line: list[tuple[int, int]] = []
        self._taken = False

    @contextlib.contextmanager
    def turn(self, lets_past: int = 0) -> Generator[None]:
        """Wait for one's turn and hold it.

        Args:
            lets_past: of those who come later, the first so many may go before; no more, so that
                nobody waits for ever.
        """
        with self._changed:
            ticket = next(self._tickets)
            place = ticket + lets_past, -ticket  # the last one that is let past still goes before
            heapq.heappush(self._line, place)
            self._changed.wait_for(lambda: not self._taken and self._line[0] == place)
            heapq.heappop(self._line)
            self._taken = True
        try:
            yield
        finally:
            with self._changed:
                self._taken = False
                self._changed.notify_all()
