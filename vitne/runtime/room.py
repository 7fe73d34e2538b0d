"""How much one may have at a time in this process, and all together: nobody keeps the others out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from vitne.errors import ResourceExhausted


class Room:
    """Counts what is taken, by who took it. Replicas don't know of each other's.

    Args:
        of_one: most that one may have at a time.
        of_all: most of all together; None: without a bound of its own.
        refusal: makes the error that names bound and remedy.
    """

    def __init__(self, of_one: int, of_all: int | None, refusal: Callable[[], ResourceExhausted]) -> None:
        self._of_one = of_one
        self._of_all = of_all
        self._refusal = refusal
        self._taken: Counter[str] = Counter()
        self._all = 0

    @contextmanager
    def take(self, who: str, amount: int = 1) -> Iterator[None]:
        """Have so much for as long as the context lasts.

        Raises:
            ResourceExhausted: there is no room; nothing is taken.
        """
        too_many = self._of_all is not None and self._all + amount > self._of_all
        if too_many or self._taken.get(who, 0) + amount > self._of_one:
            raise self._refusal()
        self._taken[who] += amount
        self._all += amount
        try:
            yield
        finally:
            self._all -= amount
            self._taken[who] -= amount
            if not self._taken[who]:
                del self._taken[who]  # as many names as are here now, and not as ever were
