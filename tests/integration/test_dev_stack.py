"""The folder of an embedded stack: one stack at a time, and who has it is told."""

from __future__ import annotations

import os

import pytest

from vitne.dev.stack import Stack
from vitne.errors import FailedPrecondition


async def test_a_second_stack_is_told_which_process_has_the_folder(stack: Stack) -> None:
    for _ in range(2):  # Being refused takes nothing from the holder.
        with pytest.raises(FailedPrecondition, match=rf"{stack.folder}, process {os.getpid()}; remedy: ") as refused:
            await Stack(stack.folder).start()
        assert refused.value.reason == "STACK_IN_USE"
