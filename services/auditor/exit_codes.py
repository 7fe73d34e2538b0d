"""What the command's exit code says, to machines."""

from __future__ import annotations

from typing import Final

#: All agrees.
AGREES: Final = 0
#: Something does not.
DISAGREES: Final = 1
#: It could not look, or wrong usage.
NOT_LOOKED: Final = 2
