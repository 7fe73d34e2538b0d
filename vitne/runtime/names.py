"""Names that an installation has unless told others. Logical: where each is really found is a setting of its own."""

from __future__ import annotations

from typing import Final

#: Who issues the registry's trust list: its ``iss``.
DEFAULT_REGISTRY_URI: Final = "https://registry.vitne.example"
#: The first log, as the ledger names it; those that follow it are found by their statements of succession.
DEFAULT_LOG_ORIGIN: Final = "log.vitne.example/2026"
