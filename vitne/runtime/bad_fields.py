"""What FastAPI finds wrong with a request, said as every other refusal is: field, rule, remedy, in our own words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from vitne.errors import InvalidArgument
from vitne.runtime.status import RuleViolations, Violation

REASON: Final = "BAD_FIELD"
#: What a violation is about that is about no field of the request.
BODY: Final = "body"
#: Violations beyond these are not told: the first ones say enough.
MAX_VIOLATIONS: Final = 20
#: Characters of a field's path that are told: what is no member of ours may be called anything.
MAX_FIELD: Final = 200

_AS_DOCUMENTED: Final = "write it as /openapi.json, or the page of this interface, says"
_OBJECT: Final = ("a JSON object", "send one, with content-type application/json")
_WHOLE: Final = ("a whole number", "write it in digits alone")
_NUMBER: Final = ("a number", "write it in digits, with a point for decimals")
_SWITCH: Final = ("true or false", "write one of the two")
#: Rule and remedy by pydantic's type of error; the rule's names are filled from what it knows of the bound.
_WORDS: Final[Mapping[str, tuple[str, str]]] = {
    "missing": ("required", "send it"),
    "extra_forbidden": ("no member of that name", "correct the name, or leave it out"),
    "json_invalid": ("well-formed JSON (RFC 8259)", "look at the body at the place that field names"),
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type", "dataclass_type"), _OBJECT),
    "list_type": ("a JSON array", "write it in [ and ]"),
    "string_type": ("a text", "write it in quotes"),
    "string_unicode": ("text in UTF-8", "encode it in UTF-8"),
    "string_too_long": ("at most {max_length} characters", "send less"),
    "string_too_short": ("at least {min_length} characters", "send more, or leave it out"),
    "string_pattern_mismatch": ("of the form {pattern}", _AS_DOCUMENTED),
    "too_long": ("at most {max_length} entries", "send fewer"),
    "too_short": ("at least {min_length} entries", "send more"),
    **dict.fromkeys(("int_parsing", "int_type", "int_from_float", "int_parsing_size"), _WHOLE),
    **dict.fromkeys(("float_parsing", "float_type", "finite_number", "decimal_parsing", "decimal_type"), _NUMBER),
    **dict.fromkeys(("bool_parsing", "bool_type"), _SWITCH),
    "greater_than": ("more than {gt}", "send a larger one"),
    "greater_than_equal": ("at least {ge}", "send a larger one"),
    "less_than": ("less than {lt}", "send a smaller one"),
    "less_than_equal": ("at most {le}", "send a smaller one"),
    **dict.fromkeys(("enum", "literal_error"), ("one of {expected}", "choose one of them")),
}
_OTHER: Final = ("of the documented form", _AS_DOCUMENTED)


def bad_fields(found: Sequence[Mapping[str, Any]]) -> InvalidArgument:
    """The refusal of a request that does not have the documented form.

    Args:
        found: pydantic's ``errors()``. What they quote of the request is not repeated, nor is pydantic's wording.
    """
    return RuleViolations([_violation(each) for each in found[:MAX_VIOLATIONS]] or [Violation(BODY, REASON, *_OTHER)])


def _violation(found: Mapping[str, Any]) -> Violation:
    rule, remedy = _WORDS.get(found["type"], _OTHER)
    return Violation(_field(found["loc"]), REASON, rule.format_map(found.get("ctx", {})), remedy)


def _field(place: Sequence[str | int]) -> str:
    """``("body", "items", 3, "name")`` as ``items[3].name``; what is no member, as the body, at a character of it."""
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place[1:]).lstrip(".")
    return (BODY + path if path.startswith("[") or not path else path)[:MAX_FIELD]
