"""Write ``docs/rules.md``: the national rules as a page for people, from the files that decisions are made by.

Usage: ``python -m tools.rules`` from the project's root.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Final

from vitne.frameworks import AccreditationKind, Basis, Framework, Frameworks, Named, RecognitionRule, Rule, Standing
from vitne.frameworks.model import WITHOUT_CREDITS

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "rules.md"
_STANDINGS: Final = {
    Standing.IN_FORCE: "in force",
    Standing.INTERPRETATION: "interpretation",
    Standing.PILOT: "pilot",
    Standing.PROPOSED: "proposed",
}
_INTRODUCTION: Final = """\
# National rules

What the rules in [vitne/frameworks/data](../vitne/frameworks/data) say, country by country: made by `make rules` from
the files that decisions are made by, and compared with them by a test. How a file is read and written is explained at
the top of [no.toml](../vitne/frameworks/data/no.toml).

What no rule lets happen is refused. Each rule has a **standing**: *in force* (law or practice today), *interpretation*
(a reading of law or of a source, which says whose), *pilot* (tried by a provider), *proposed* (a committee or a project
asks for it). An installation applies those that `VITNE_STANDINGS` names; every decision says which rule and standing it
rested on. Passages are in our own words. A rule without days counts at any time; days begin at midnight UTC.
"""


def page(frameworks: Iterable[Framework]) -> str:
    """The whole page as Markdown: countries by name, what is common last."""
    ordered = sorted(frameworks, key=lambda framework: (framework.country == "EU", framework.country))
    return "\n".join([_INTRODUCTION, *(line for framework in ordered for line in _country(framework))])


def _country(framework: Framework) -> Iterator[str]:
    yield f"## {framework.name['en']}\n"
    yield f"`{framework.country.lower()}.toml`, version {framework.version}\n"
    yield from _levels(framework)
    yield from _units(framework)
    if framework.credential_kinds:
        yield from _kinds("Kinds of credential", framework.credential_kinds, _credential_notes(framework))
        yield from _kinds("Kinds of provider", framework.provider_kinds, {})
        yield from _accreditations(framework)
    yield "### Rules\n"
    required = framework.accreditation_required
    yield f"**`{required.id}`** ({_STANDINGS[required.standing]}): nobody issues without an accreditation."
    yield f"*{_basis(required.basis)}*\n"
    for rule in framework.rules:
        yield from _rule(rule)
    for recognition in framework.recognition_rules:
        yield from _recognition(recognition)
    for prohibition in framework.prohibitions:
        yield f"**`{prohibition.id}`** ({_STANDINGS[prohibition.standing]}): {prohibition.says}\n"
        yield f"- Nobody issues: {_codes(prohibition.credentials)}"
        yield f"- Instead: {prohibition.remedy}"
        yield f"- Basis: {_basis(prohibition.basis)}\n"


def _levels(framework: Framework) -> Iterator[str]:
    for scheme in framework.level_frameworks.values():
        yield f"### Levels: {_name(scheme)}\n"
        yield f"`{scheme.id}`. *{_basis(scheme.basis)}*\n"
        yield from _rows(
            ("level", "EQF", "called", "what stands there"),
            ((level.level, level.eqf, level.also, level.example) for level in scheme.levels),
        )


def _units(framework: Framework) -> Iterator[str]:
    yield "### Units\n"
    yield from _rows(
        ("unit", "name", "converts to", "standing", "basis"),
        (
            (
                f"`{unit.id}`",
                _name(unit),
                "; ".join(f"{factor} `{target}`" for target, factor in unit.converts_to.items())
                or f"nothing: {unit.no_conversion}",
                _STANDINGS[unit.standing],
                _basis(unit.basis),
            )
            for unit in framework.units.values()
        ),
    )


def _kinds(title: str, kinds: Mapping[str, Named], notes: Mapping[str, str]) -> Iterator[str]:
    yield f"### {title}\n"
    header = ("term", "own words", "in English", *(("note",) if notes else ()))
    rows = (
        (f"`{kind.id}`", _own(kind), kind.name["en"], *((notes[kind.id],) if notes else ())) for kind in kinds.values()
    )
    yield from _rows(header, rows)


def _credential_notes(framework: Framework) -> Mapping[str, str]:
    notes = {}
    for kind in framework.credential_kinds.values():
        formal = "formal" if kind.formal else "outside the education system"
        unlike = f"; never shown as equal to {_codes(kind.not_equal_to)}" if kind.not_equal_to else ""
        notes[kind.id] = formal + unlike
    return notes


def _accreditations(framework: Framework) -> Iterator[str]:
    yield "### Kinds of accreditation\n"
    yield from _rows(
        ("term", "name", "given by", "held by", "names", "time and duties"),
        (
            (
                f"`{kind.id}`",
                _name(kind),
                kind.granted_by,
                _codes(kind.held_by),
                ", ".join(sorted(kind.bounded_by)) or "nothing",
                _time_and_duties(kind),
            )
            for kind in framework.accreditation_kinds.values()
        ),
    )


def _time_and_duties(kind: AccreditationKind) -> str:
    said = [
        "for a limited period" if kind.must_end else "",
        f"reviewed after {kind.review_after_years} years" if kind.review_after_years else "",
        *(duty.replace("_", " ") for duty in sorted(kind.duties)),
    ]
    stated = "; ".join(filter(None, said))
    return f"{stated}. {_basis(kind.basis)}" if kind.basis else stated or "open"


def _recognition(rule: RecognitionRule) -> Iterator[str]:
    yield f"**`{rule.id}`** ({_STANDINGS[rule.standing]}): {rule.says}\n"
    whose = ", published by itself" if rule.own else ""
    yield f"- Recognises: {_codes(rule.bodies)}, against {_codes(rule.against)}{whose}"
    yield f"- For: {', '.join(sorted(rule.purposes))}; documented by {_codes(rule.documented_by)}"
    yield f"- Levels: {_stated_levels(rule)}"
    yield f"- Units: {_stated_units(rule)}"
    yield f"- Counts: {_days(rule.valid_from, rule.valid_until)}"
    yield f"- Basis: {_basis(rule.basis)}\n"


def _stated_levels(rule: Rule | RecognitionRule) -> str:
    placed = [f"`{scheme}` {level}" for scheme, level in sorted(rule.levels)]
    return ", ".join([*(["without"] if rule.unplaced else []), *placed])


def _stated_units(rule: Rule | RecognitionRule) -> str:
    units = [f"`{unit}`" if unit != WITHOUT_CREDITS else "without credits" for unit in sorted(rule.units)]
    return " or ".join(units)


def _rule(rule: Rule) -> Iterator[str]:
    yield f"**`{rule.id}`** ({_STANDINGS[rule.standing]}): {rule.says}\n"
    yield f"- Under: {_codes(rule.accreditations)}, held by {_codes(rule.providers)}"
    yield f"- May issue: {_codes(rule.credentials)}"
    yield f"- Levels: {_stated_levels(rule)}"
    least = f", from {rule.min_points}" if rule.min_points is not None else ""
    most = f", to {rule.max_points}" if rule.max_points is not None else ""
    yield f"- Size: {_stated_units(rule)}{least}{most}"
    yield f"- Counts: {_days(rule.valid_from, rule.valid_until)}"
    yield f"- Basis: {_basis(rule.basis)}\n"


def _days(first: date | None, after: date | None) -> str:
    stated = [f"from {first}" if first else "", f"until {after}" if after else ""]
    return " ".join(filter(None, stated)) or "at any time"


def _basis(basis: Basis) -> str:
    return f"{basis.title}. {basis.passage}"


def _name(named: Named) -> str:
    own = _own(named)
    return f"{own} ({named.name['en']})" if own != named.name["en"] else own


def _own(named: Named) -> str:
    """The country's own words; English ones where it is common."""
    return "; ".join(text for language, text in named.name.items() if language != "en") or named.name["en"]


def _codes(terms: Iterable[str]) -> str:
    return ", ".join(f"`{term}`" for term in sorted(terms))


def _rows(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield "| " + " | ".join(header) + " |"
    yield "|" + "---|" * len(header)
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
    yield ""


if __name__ == "__main__":
    PAGE.write_text(page(Frameworks.load(Standing)), "utf-8")
    print(f"{PAGE.relative_to(Path.cwd())} is written")
