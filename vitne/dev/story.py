"""The demonstration's story: its acts in their order."""

from __future__ import annotations

from typing import Final

from vitne.dev.adding_up import AddingUp
from vitne.dev.demo import Demo

#: Told first, since institutions are called by their real names and lose what they never lost.
MADE_UP: Final = "The institutions' names are real; the learners, events and decisions that follow are made up."


async def tell(demo: Demo) -> None:
    """All of it, by whoever takes part in ``demo``."""
    demo.narrator.say(MADE_UP)
    await demo.accredit()
    await demo.issue()
    await demo.issue_batch()
    await demo.refuse()
    await demo.aggregate()
    await demo.verify()
    await demo.revoke_and_suspend()
    await AddingUp(demo).run()
    await demo.withdraw_accreditation()
    await demo.withdraw_backwards()
    await demo.show_outsiders()
    await demo.audit()
