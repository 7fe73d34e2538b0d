"""Run every suite of official test data and write the table in ``docs/conformance.md``.

Usage: ``python -m tests.conformance`` from the project's root; ends non-zero where a case fails.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.conformance.frame import run, suites
from tests.conformance.table import PAGE, write

VECTORS = Path("..") / "shared" / "vectors"


def main() -> int:
    if not VECTORS.is_dir():
        print(f"conformance: the official test data is not there: {VECTORS}", file=sys.stderr)
        return 2
    results = []
    for suite in suites():
        result = run(suite, VECTORS)
        print(result.line(), flush=True)
        for failure in result.failed:
            print(f"  {failure}", file=sys.stderr)
        results.append(result)
    write(PAGE, results)
    return 1 if any(result.failed for result in results) else 0


if __name__ == "__main__":
    raise SystemExit(main())
