"""Hold ``docs/asyncapi.json`` to AsyncAPI's own schema of its version, as ``@asyncapi/specs`` has it.

Usage: ``python -m tests.interop.asyncapi`` from the project's root, after ``npm ci`` in ``tests/interop``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

from jsonschema import Draft7Validator

from tools.asyncapi import PAGE

SCHEMAS: Final = Path(__file__).resolve().parent / "node_modules" / "@asyncapi" / "specs" / "schemas"


def main() -> int:
    """Print what does not hold; answers the exit code."""
    document = json.loads(PAGE.read_text("utf-8"))
    schema = json.loads((SCHEMAS / f"{document['asyncapi']}.json").read_text("utf-8"))
    errors = sorted(Draft7Validator(schema).iter_errors(document), key=str)
    for error in errors:
        print(f"{error.json_path}: {error.message[:200]}")
    print(f"{PAGE.name}: {len(errors)} deviations from AsyncAPI {document['asyncapi']}")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
