"""Token Status List: the draft's examples and its long test vectors."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.conformance import test_status_list as asked
from tests.conformance.frame import Case, Suite


def cases(folder: Path) -> Iterator[Case]:
    vectors = folder.parent
    for example in asked.SHORT_EXAMPLES:
        yield Case(example[0], partial(asked.test_short_examples, vectors, *example))
    yield Case("statuses of the short examples", asked.test_the_statuses_of_the_short_examples)
    for bits in asked.LONG_LISTS:
        yield Case(f"{bits} bits, a million statuses", partial(asked.test_long_vectors, vectors, bits))
    yield Case("the published token", partial(asked.test_the_published_token_parses, vectors))


SUITE = Suite(
    "token-status-list", "Token Status List: examples, lists of a million statuses", cases, "test_status_list.py"
)
