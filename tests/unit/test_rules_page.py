"""The page of national rules is what the files say."""

from __future__ import annotations

from tools.rules import PAGE, page
from vitne.frameworks import Frameworks, Prohibition, RecognitionRule, Rule, Standing

ALL = Frameworks.load(Standing)


def test_the_page_is_what_the_files_say() -> None:
    assert PAGE.read_text("utf-8") == page(ALL), "run `make rules`"


def test_nothing_of_the_files_is_left_out() -> None:
    text = page(ALL)
    for framework in ALL:
        stated: list[Rule | RecognitionRule | Prohibition] = [
            *framework.rules,
            *framework.recognition_rules,
            *framework.prohibitions,
        ]
        for rule in stated:
            assert f"**`{rule.id}`**" in text
            assert rule.says in text
            assert rule.basis.passage in text
        for kind in (*framework.credential_kinds.values(), *framework.accreditation_kinds.values()):
            assert f"| `{kind.id}` |" in text
        for unit in framework.units.values():
            assert unit.no_conversion in text
