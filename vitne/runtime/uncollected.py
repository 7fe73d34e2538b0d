"""Imported by a service before all else: until :func:`~vitne.runtime.main.cli` begins, nobody looks for cycles.

What is imported stays for as long as the process does. Looking through it again and again while it grows took a tenth
of the time until a service is ready.
"""

from __future__ import annotations

import gc

gc.disable()
