"""The examples of docs/stacking.md, evaluated: after each rule come credentials and answers that belong to it."""

from __future__ import annotations

import json
import re
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict

from tests.unit.accreditation_samples import ALL
from tests.unit.stacking_samples import AT
from vitne.stacking import Answer, Held, Stacking, Standing, Terms, read
from vitne_api.registry.v1 import qualification_pb2

PAGE = Path(__file__).resolve().parents[2] / "docs" / "stacking.md"
BLOCKS = [
    json.loads(block) for block in re.findall(r"^```json\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
]


def examples() -> list[tuple[dict[str, Any], dict[str, Any]]]:
    found, rule = [], None
    for block in BLOCKS:
        if "requirement" in block:
            rule = block
        else:
            assert rule is not None
            found.append((rule, block))
    return found


def held(one: dict[str, Any]) -> Held:
    framework, _, level = one.get("level", "").partition(" ")
    return Held(
        reference=one["of"],
        achievement=one["of"],
        version=1,
        provider="0192:971035854",
        kind=one["kind"],
        awarded_on=date.fromisoformat(one.get("on", "2026-06-01")),
        unit="ects" if "points" in one else "",
        points=Decimal(one.get("points", "0")),
        level=(framework, level) if level else None,
        standing=Standing(one.get("status", "valid")),
        by_recognition=one.get("recognised", False),
    )


def shown(answer: Answer) -> dict[str, Any]:
    """An answer as the page writes it."""
    return {
        "outcome": answer.outcome.value,
        "percent": answer.percent,
        "missing": {one.requirement: f"{one.have} of {one.need} {one.unit}".rstrip() for one in answer.missing},
        "counted": {one.reference: one.requirement for one in answer.counted},
        "uncounted": {one.reference: one.why.value for one in answer.uncounted},
    }


@pytest.mark.parametrize(("rule", "example"), examples())
def test_an_example(rule: dict[str, Any], example: dict[str, Any]) -> None:
    members: dict[str, Any] = {name: rule[name] for name in ("requirement", "order") if name in rule}
    message = ParseDict({"id": "q", "version": 1, **members}, qualification_pb2.Qualification())
    engine = Stacking([read(message, rule["awards"])], Terms.of(ALL))
    (answer,) = engine.evaluate([held(one) for one in example["credentials"]], AT).answers
    found = shown(answer)
    assert {name: found[name] for name in example["answer"]} == example["answer"]
    # What the page leaves out is empty, but for what is counted.
    assert not any(found[name] for name in ("missing", "uncounted") if name not in example["answer"])


def test_there_are_examples() -> None:
    assert len(examples()) == 6
