"""N-Quads are read strictly and written canonically; canonical form follows from the graph alone."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitne.credentials.rdf.canonical import WORK_BUDGET, canonicalise
from vitne.credentials.rdf.nquads import parse
from vitne.credentials.rdf.terms import Quad, iri, line, literal
from vitne.errors import InvalidArgument

P = "<https://example.org/p>"
HOSTILE = st.text(st.characters(codec="utf-8") | st.sampled_from('\n\r\t"\\\x00\x7f\ufffe<>@^.'), max_size=20)


def refused(text: str) -> str:
    with pytest.raises(InvalidArgument) as refusal:
        parse(text)
    return refusal.value.reason


@given(HOSTILE, st.sampled_from(["", "nb", "en-GB"]))
def test_literals_are_read_back_as_they_are_written(text: str, language: str) -> None:
    quad = ("_:a", P, literal(text, language=language), "")
    written = line(quad)
    assert written.count("\n") == 1
    assert parse(written) == [quad]


def test_all_ways_of_writing_a_character_are_one() -> None:
    written = ['"a\\u000A\\"b"', '"a\\n\\u0022b"', '"a\\U0000000a\\"\\u0062"']
    assert {quad[2] for text in written for quad in parse(f"_:a {P} {text} .")} == {'"a\\n\\"b"'}
    assert parse(f'_:a {P} "x"^^<http://www.w3.org/2001/XMLSchema#string> .')[0][2] == '"x"'
    assert literal("\x0b\x7f\ufffe\u0080") == '"\\u000B\\u007F\\uFFFE\u0080"'


def test_comments_and_empty_lines_say_nothing() -> None:
    assert parse(f"# nothing\n\n  _:a {P} <https://example.org/o> <https://example.org/g> . # told\r\n") == [
        ("_:a", P, "<https://example.org/o>", "<https://example.org/g>")
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"_:a {P} _:b", "BAD_NQUADS"),
        (f'"a" {P} _:b .', "BAD_NQUADS"),
        ("_:a _:p _:b .", "BAD_NQUADS"),
        (f'_:a {P} "a\\x" .', "BAD_NQUADS"),
        (f'_:a {P} "\\U00110000" .', "BAD_NQUADS"),
        (f'_:a {P} "\\ud800" .', "BAD_LITERAL"),
        (f"_:a {P} <relative> .", "BAD_IRI"),
        (f"_:a {P} <https://example.org/\\u0020> .", "BAD_IRI"),
    ],
)
def test_what_is_not_n_quads_is_refused(text: str, reason: str) -> None:
    assert refused(text) == reason


_NODES = st.sampled_from([f"_:n{number}" for number in range(5)] + [iri("https://example.org/x")])
# All quads of a dataset are in one graph: see the case of two graphs below.
_QUADS = st.sampled_from(["", "_:n0", "<https://example.org/g>"]).flatmap(
    lambda graph: st.lists(
        st.tuples(
            _NODES,
            st.sampled_from([P, "<https://example.org/q>"]),
            _NODES | st.builds(literal, HOSTILE),
            st.just(graph),
        ),
        max_size=10,
    )
)


@settings(max_examples=80)
@given(_QUADS, st.randoms(use_true_random=False))
def test_neither_labels_nor_order_nor_repetition_matter(quads: list[Quad], chance: random.Random) -> None:
    names = [f"_:other{number}" for number in range(5)]
    chance.shuffle(names)
    renamed = {f"_:n{number}": name for number, name in enumerate(names)}
    again = [tuple(renamed.get(term, term) for term in quad) for quad in quads * 2]
    chance.shuffle(again)
    ours = canonicalise(quads)
    assert canonicalise([(s, p, o, g) for s, p, o, g in again]).lines == ours.lines
    assert canonicalise(parse(ours.document.decode())).lines == ours.lines


def test_a_neighbour_is_counted_for_each_quad_that_it_stands_in() -> None:
    """RDFC-1.0, section 4.8.3, step 3. What is told apart here are ``_:c14n4`` and ``_:c14n5``, alike but for where
    their links lead: the graph's name stands in two quads of each, and is hashed twice. PyLD and rdf-canonize say the
    same; pyoxigraph hashes it once and swaps the two. W3C's vectors do not hold the case. No credential of ours has a
    blank node for its graph."""
    links = ["0 5", "2 4", "4 2", "5 1"]
    lines = [
        *(f'_:c14n{node} {P} "a" _:c14n3 .\n' for node in "012"),
        *(f"_:c14n{one} {P} _:c14n{other} _:c14n3 .\n" for one, other in map(str.split, links)),
    ]
    form = "".join(sorted(lines))
    assert canonicalise(parse(form)).document.decode() == form


def test_the_algorithm_cannot_tell_two_graphs_apart_that_mirror_each_other() -> None:
    """RDFC-1.0, section 4.7.3: a neighbour's hash says nothing of the graph, so two nodes that no symmetry maps on each
    other can have one hash, and the order of input decides. Credentials keep to one graph, where that can't happen."""
    g = "<https://example.org/g>"
    links = [("_:z", P, "_:a", ""), ("_:z", P, "_:b", g), ("_:y", P, "_:a", g), ("_:y", P, "_:b", "")]
    quads = [*links, ("_:y", P, literal("y"), "")]
    forms = {canonicalise(order).lines for order in (quads, quads[::-1])}
    assert len(forms) == 2
    assert {canonicalise(parse("".join(form))).lines for form in forms} <= forms


def test_a_poison_graph_is_refused_after_its_budget_of_work() -> None:
    clique = [(f"_:n{a}", P, f"_:n{b}", "") for a in range(12) for b in range(12) if a != b]
    with pytest.raises(InvalidArgument) as refusal:
        canonicalise(clique)
    assert refusal.value.reason == "GRAPH_TOO_COMPLEX"
    assert canonicalise(clique[:3], work_budget=WORK_BUDGET).labels
    with pytest.raises(InvalidArgument):
        canonicalise([("_:a", P, "_:b", ""), ("_:b", P, "_:a", "")], work_budget=1)


@pytest.mark.parametrize("size", [100, 5000])
def test_a_ring_of_nodes_that_are_alike_is_refused_however_long(size: int) -> None:
    ring = [(f"_:n{place}", P, f"_:n{(place + 1) % size}", "") for place in range(size)]
    with pytest.raises(InvalidArgument) as refusal:
        canonicalise(ring)
    assert refusal.value.reason == "GRAPH_TOO_COMPLEX"


def test_the_hash_function_decides_on_the_labels() -> None:
    quads = [("_:x", P, literal(str(number)), "") for number in range(3)]
    quads += [("_:y", P, literal("y"), ""), ("_:z", P, literal("z"), "")]
    assert canonicalise(quads).labels != canonicalise(quads, hash_name="sha384").labels
