"""Documents become RDF under pinned contexts; what would be dropped is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from tools.contexts import compiled
from vitne.credentials.jsonld.contexts import MAX_CONTEXTS, pinned, pinned_urls
from vitne.credentials.jsonld.tables import from_json, to_json
from vitne.credentials.jsonld.to_rdf import MAX_DEPTH, to_rdf
from vitne.credentials.rdf.canonical import canonicalise
from vitne.errors import InvalidArgument

V2 = "https://www.w3.org/ns/credentials/v2"
X = "https://example.org/x#"
TERMS = {
    "id": "@id",
    "type": "@type",
    "x": X,
    "name": "x:name",
    "list": {"@id": "x:list", "@container": "@list"},
    "texts": {"@id": "x:texts", "@container": "@language"},
    "day": {"@id": "x:day", "@type": "x:Day"},
    "any": {"@id": "x:any", "@type": "@json"},
    "link": {"@id": "x:link", "@type": "@id"},
    "graph": {"@id": "x:graph", "@type": "@id", "@container": "@graph"},
    "Typed": {"@id": "x:Typed", "@context": {"inner": "x:inner"}},
    "scoped": {"@id": "x:scoped", "@context": {"name": "x:other"}},
}


def lines(*contexts: Any, **members: Any) -> list[str]:
    document = {"@context": [TERMS, *contexts], "id": "urn:a"} | members
    return [entry.removesuffix(" .\n").replace(X, "") for entry in canonicalise(to_rdf(document)).lines]


def refusal(*contexts: Any, **members: Any) -> tuple[str, str]:
    with pytest.raises(InvalidArgument) as refused:
        lines(*contexts, **members)
    return refused.value.reason, refused.value.field


def test_values_of_all_kinds() -> None:
    assert lines(name="a", day="d", link="x:b") == [
        '<urn:a> <day> "d"^^<Day>',
        "<urn:a> <link> <b>",
        '<urn:a> <name> "a"',
    ]
    integer, double, boolean = (
        f"^^<http://www.w3.org/2001/XMLSchema#{name}>" for name in ("integer", "double", "boolean")
    )
    assert lines(name=[1, 1.5, True, 1e21, -2.0, 5e-324]) == [
        f'<urn:a> <name> "-2"{integer}',
        f'<urn:a> <name> "1"{integer}',
        f'<urn:a> <name> "1.0E21"{double}',
        f'<urn:a> <name> "1.5E0"{double}',
        f'<urn:a> <name> "4.940656458412465E-324"{double}',
        f'<urn:a> <name> "true"{boolean}',
    ]
    assert lines(name={"@value": "a", "@language": "en-GB"}) == ['<urn:a> <name> "a"@en-gb']
    assert lines(name={"@value": 1, "@type": "x:Day"}) == ['<urn:a> <name> "1"^^<Day>']
    assert lines(texts={"nb": "ø", "en": ["a", "b"]}) == [
        '<urn:a> <texts> "a"@en',
        '<urn:a> <texts> "b"@en',
        '<urn:a> <texts> "ø"@nb',
    ]
    assert lines({"@language": "sv"}, name="å") == ['<urn:a> <name> "å"@sv']
    (json_literal,) = lines(any={"b": [1, "x"], "a": None})
    assert json_literal.startswith('<urn:a> <any> "{\\"a\\":null,\\"b\\":[1,\\"x\\"]}"^^')


def test_lists_have_an_order_and_sets_have_none() -> None:
    assert lines(name=["a", "b"]) == lines(name={"@set": ["b", "a", "b"]})
    assert lines(list=["a", "b"]) != lines(list=["b", "a"])
    assert lines(list=["a", "b"]) == lines(list={"@list": ["a", None, "b"]})
    assert lines(list=[]) == ["<urn:a> <list> <http://www.w3.org/1999/02/22-rdf-syntax-ns#nil>"]
    assert len(lines(list=[["a"], []])) == 7


def test_a_types_context_ends_at_the_next_node_and_a_propertys_goes_on() -> None:
    assert lines(type="Typed", inner="a")[1] == '<urn:a> <inner> "a"'
    assert refusal(type="Typed", name={"inner": "a"}) == ("UNKNOWN_TERM", "name.inner")
    assert lines(scoped={"id": "urn:b", "link": {"id": "urn:c", "name": "a"}})[2] == '<urn:c> <other> "a"'


def test_a_graph_has_a_name_of_its_own() -> None:
    assert lines(graph={"id": "urn:b", "name": "c"}) == [
        "<urn:a> <graph> _:c14n0",
        '<urn:b> <name> "c" _:c14n0',
    ]


def test_labels_of_the_document_do_not_meet_ours() -> None:
    assert len({entry.split()[0] for entry in lines(link=[{"id": "_:b0", "name": "a"}, {"name": "b"}])}) == 3


@pytest.mark.parametrize(
    ("members", "reason", "field"),
    [
        ({"unknown": 1}, "UNKNOWN_TERM", "unknown"),
        ({"name": {"deep": 1}}, "UNKNOWN_TERM", "name.deep"),
        ({"type": "Unknown"}, "UNKNOWN_TERM", "type"),
        ({"name": [{"type": ["Typed", "Unknown"]}]}, "UNKNOWN_TERM", "name[0].type"),
        ({"id": "relative"}, "BAD_JSONLD", "id"),
        ({"link": "relative"}, "BAD_JSONLD", "link"),
        ({"name": {"@value": "a", "@direction": "ltr"}}, "BAD_JSONLD", "name"),
        ({"name": {"@value": "a", "@language": "en", "@type": "x:Day"}}, "BAD_JSONLD", "name"),
        ({"name": {"@value": None}}, "BAD_JSONLD", "name"),
        ({"name": {"@value": "a", "name": "b"}}, "BAD_JSONLD", "name"),
        ({"name": {"@list": [], "name": "b"}}, "BAD_JSONLD", "name"),
        ({"name": [["a"]]}, "BAD_JSONLD", "name[0]"),
        ({"name": 2**53 + 1}, "BAD_JSONLD", "name"),
        ({"texts": "a"}, "BAD_JSONLD", "texts"),
        ({"texts": {"nb": 1}}, "BAD_JSONLD", "texts"),
        ({"texts": {"not a tag": "a"}}, "BAD_LITERAL", ""),
        ({"graph": "urn:b"}, "BAD_JSONLD", "graph"),
        ({"@graph": []}, "BAD_JSONLD", "@graph"),
        ({"@reverse": {}}, "BAD_JSONLD", "@reverse"),
        ({"@id": "urn:b"}, "BAD_JSONLD", "@id"),
        ({"any": 2**60}, "BAD_JSONLD", "any"),
    ],
)
def test_what_would_be_lost_is_refused_by_name(members: dict[str, Any], reason: str, field: str) -> None:
    assert refusal(**members) == (reason, field)


@pytest.mark.parametrize(
    "context",
    [
        {"@import": "https://example.org/"},
        {"@base": "https://example.org/"},
        {"@vocab": "relative"},
        {"a": {"@id": "urn:a", "@reverse": "urn:b"}},
        {"a": {"@id": "urn:a", "@container": "@index"}},
        {"a": {"@id": "urn:a", "@container": ["@list", "@set", "@graph"]}},
        {"a": {"@id": "@nest"}},
        {"a": {"@id": "@type", "@type": "@id"}},
        {"a": "b:c", "b": "a:d"},
        {"a": "relative"},
        {"a": {}},
        {"a": 1},
        {"a:b": "urn:a"},
        {"a": {"@id": "urn:a", "@protected": 1}},
        {f"t{number}": "urn:a" for number in range(300)},
        12,
    ],
)
def test_contexts_that_are_not_understood_are_refused(context: Any) -> None:
    assert refusal(context) == ("BAD_CONTEXT", "@context")


def test_contexts_are_never_fetched() -> None:
    assert refusal("https://example.org/unknown")[0] == "UNKNOWN_CONTEXT"
    assert refusal(*[V2] * MAX_CONTEXTS)[0] == "BAD_CONTEXT"
    assert V2 in pinned_urls()


def test_protected_terms_stay_what_they_are() -> None:
    secret = {"@protected": True, "a": "urn:a"}
    assert refusal(secret, {"a": "urn:b"})[0] == "BAD_CONTEXT"
    assert refusal(secret, None)[0] == "BAD_CONTEXT"
    assert lines(secret, {"a": "urn:a"}, a="x") == ['<urn:a> <urn:a> "x"']
    # The same again without protection does not lift it.
    assert refusal(secret, {"a": "urn:a"}, {"a": "urn:b"})[0] == "BAD_CONTEXT"
    # A property's own context may redefine what is protected outside of it.
    own = {"p": {"@id": "urn:p", "@context": {"a": "urn:c"}}}
    assert lines(secret, own, p={"id": "urn:q", "a": "x"})[1] == '<urn:q> <urn:c> "x"'


def test_depth_is_bounded() -> None:
    nested: dict[str, Any] = {}
    for _ in range(MAX_DEPTH):
        nested = {"name": nested}
    assert refusal(**nested)[0] == "BAD_JSONLD"


@pytest.mark.parametrize("url", pinned_urls())
def test_tables_are_read_back_as_they_are_written(url: str) -> None:
    assert from_json(to_json(pinned(url))) == pinned(url)


def test_definitions_rest_on_later_ones_and_on_the_vocabulary() -> None:
    table = compiled({"@vocab": X, "a": "p:b", "p": "urn:p:", "c": {}, "d": {"@id": "d", "@type": "c"}})
    assert {term: definition.iri for term, definition in table.terms.items()} == {
        "a": "urn:p:b",
        "p": "urn:p:",
        "c": f"{X}c",
        "d": f"{X}d",
    }
    assert table.terms["d"].type == f"{X}c"
