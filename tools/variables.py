"""Refuse what make was given and can't be meant, before anything is built or started; standard library only.

make hands its command line on in the environment, so the values arrive here as they were written.

Usage: ``python3 tools/variables.py NAME…``, those of the command line: what else there is may be meant for others
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Rule:
    """What a variable may be: a pattern for all of it, the same in words, and what to write instead."""

    pattern: str
    rule: str
    remedy: str


#: A host by name, IPv4 or [IPv6], and a port.
ADDRESS = r"([^\s:,\[\]]+|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}"
SWITCH = Rule("1|yes|on|true|0|no|off|false", "1 or 0", "leave it out for 0")
COUNT = Rule("[1-9][0-9]*", "a whole number from 1", "write it in digits alone, 10000")
DURATION = Rule(r"[0-9]*\.?[0-9]+", "a number", "write it in digits, 30 or 0.5")
RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("KEEP", "PROFILE", "QUICK", "TLS", "VERBOSE"), SWITCH),
    **dict.fromkeys(("EVENTS", "GRAPHS", "KILLS", "SECONDS", "SIZE"), COUNT),
    "KAFKA": Rule(
        rf"apache|apache-tls|{ADDRESS}(,{ADDRESS})*",
        "apache, apache-tls, or a cluster as host:port,host:port",
        "KAFKA=apache starts one (Java 17, Maven); leave it out for the embedded broker",
    ),
    "MINUTES": DURATION,
    "WORKERS": Rule("[0-9]+|auto|logical", "a number of processes, 0 for none beside", "leave it out for 2"),
}


def faults(given: Mapping[str, str]) -> list[str]:
    """What can't be meant, a line each: the variable, what it is, the rule, the remedy. Empty is left out."""
    found = [
        f"{name}={value} is not {rule.rule}; {rule.remedy}"
        for name, rule in RULES.items()
        if (value := given.get(name, "")) and not re.fullmatch(rule.pattern, value)
    ]
    if (home := given.get("VITNE_HOME")) and (fault := _unwritable(Path(home))):
        found.append(f"VITNE_HOME={home} is no folder that can be written: {fault}; leave it out for .vitne")
    return found


def _unwritable(folder: Path) -> str:
    """Why nothing can be kept in a folder, which may be still to be made; empty where it can."""
    there = next((path for path in (folder, *folder.absolute().parents) if path.exists()), Path("/"))
    if not there.is_dir():
        return f"{there} is a file"
    return "" if os.access(there, os.W_OK | os.X_OK) else f"{there} may not be written"


if __name__ == "__main__":
    if found := faults({name: os.environ.get(name, "") for name in sys.argv[1:]}):
        raise SystemExit("\n".join(f"make: {fault}" for fault in found))
