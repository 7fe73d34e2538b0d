"""What the auditor says: names and numbers, no content."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

from vitne.audit.snapshots import WorldSnapshot
from vitne.inspection.installation import Findings

#: How many disagreements the text form names; the JSON form names all.
SHOWN: Final = 50


def compared(world: WorldSnapshot) -> dict[str, int]:
    """What was compared, in numbers."""
    ledger = world.ledger
    return {
        "credentials": len(world.issuer.credentials),
        "registrations": len(world.issuer.registrations),
        "leaves": len(ledger.log.leaves),
        "lists": len(ledger.lists),
        "changes": sum(len(each.changes) for each in ledger.lists),
        "topics": len(world.topics),
        "events": sum(len(topic.records) for topic in world.topics.values()),
        "portals": len(world.portals),
        "gathered": sum(len(portal.gathered) for portal in world.portals),
        "lost": len(world.issuer.lost),
        "restores": len(world.issuer.restores) + len(ledger.restores),
    }


def as_json(findings: Findings) -> dict[str, Any]:
    """The report for machines."""
    return {
        "agrees": not findings.disagreements,
        "seconds": round(findings.seconds, 1),
        "compared": compared(findings.world) if findings.world else None,
        "disagreements": [asdict(each) for each in findings.disagreements],
    }


def as_text(findings: Findings) -> Iterator[str]:
    """The report for people."""
    if findings.world is not None:
        numbers = compared(findings.world)
        yield "compared: " + ", ".join(f"{count} {name}" for name, count in numbers.items())
    if not findings.disagreements:
        yield f"issuer, log, lists, topics and portals agree (after {findings.seconds:.1f} s)"
        return
    yield f"{len(findings.disagreements)} disagreements after {findings.seconds:.1f} s"
    for kind, count in sorted(Counter(each.kind for each in findings.disagreements).items()):
        yield f"  {kind:<28} {count:>7}"
    yield from (f"{each}" for each in findings.disagreements[:SHOWN])
    if len(findings.disagreements) > SHOWN:
        yield f"… and {len(findings.disagreements) - SHOWN} more: --json names all"
