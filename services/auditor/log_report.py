"""What is said of a published log that was walked: what was compared, and what does not agree."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from services.auditor.log_look import Looked


def as_json(looked: Looked) -> dict[str, Any]:
    """The report for machines."""
    return {
        "agrees": not (looked.disagreements or looked.unreachable),
        "leaves": looked.leaves,
        "issued": looked.issued,
        "lists": looked.lists,
        "logged_lists": looked.logged,
        "witnesses": looked.witnesses,
        "disagreements": [asdict(each) for each in looked.disagreements],
        "unreachable": {url: error.message for url, error in looked.unreachable.items()},
    }


def summary(looked: Looked) -> list[str]:
    """What was walked, compared and asked, a line each."""
    lines = [f"{looked.leaves} leaves, {looked.issued} issuances, {looked.lists} lists compared"]
    if looked.lists:
        lines[0] += f", of {looked.logged} of them the version that was logged last"
    contradicting = {each.subject for each in looked.disagreements}
    for name, why in looked.witnesses.items():
        saw = "saw another log" if f"witness {name}" in contradicting else "saw the same log"
        lines.append(f"witness {name}: {why or saw}")
    return lines


def as_text(looked: Looked) -> str:
    """The report for people."""
    lines = summary(looked)
    lines += [str(each) for each in looked.disagreements] or [_verdict(looked)]
    lines += [f"not looked at: {url}: {error.message}" for url, error in looked.unreachable.items()]
    return "".join(f"{line}\n" for line in lines)


def _verdict(looked: Looked) -> str:
    """What agrees, where nothing disagrees; of what was not looked at, that it was not."""
    agreeing, but = ["the log"], []
    if looked.lists:
        agreeing.append("those of its lists that answered" if looked.unreachable else "its lists")
    elif looked.unreachable:
        but.append("its lists could not be looked at")
    elif looked.looked_at:
        but.append("it names no list")
    else:
        but.append("its lists were not looked at (--trust-list or --list-key)")
    if looked.witnesses:
        agreeing.append("its witnesses")
    else:
        but.append("no witness was asked (--policy with their addresses)")
    *first, last = agreeing
    agree = f"{', '.join(first)} and {last} agree" if first else f"{last} agrees with itself"
    return "; ".join([agree, *but])
