"""Other implementations as oracles: RDFC-1.0 against PyLD and pyoxigraph, JSON-LD against PyLD.

Where a quad names one blank node twice, both are known to be wrong: PyLD counts it twice, and pyoxigraph differs on
some. pyoxigraph also counts a neighbour once that stands at one place in several quads, where the algorithm
(RDFC-1.0, section 4.8.3, step 3) adds it for each of them. Such graphs are not asked about here: they are held against
W3C's vectors, and against rdf-canonize by `make interop`.
`VITNE_ORACLE_GRAPHS=20000` asks about more graphs.
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyoxigraph
import pytest
from hypothesis import assume, given, settings
from pyld import jsonld

from tests.unit.credential_samples import HOLDER_KEY, credentials, sample_credential
from tools.contexts import DESCRIBED, OFFICIAL, OWN, OWN_URL
from vitne.credentials.jsonld.to_rdf import to_rdf
from vitne.credentials.model import Credential
from vitne.credentials.rdf.canonical import canonicalise
from vitne.credentials.rdf.nquads import parse
from vitne.credentials.rdf.terms import BLANK, Quad, line, literal
from vitne.credentials.w3c import documents, open_badges
from vitne.errors import InvalidArgument

GRAPHS = int(os.environ.get("VITNE_ORACLE_GRAPHS", "300"))
NQUADS = "application/n-quads"
#: What is not the same for all: PyLD does not read escapes by code point.
TEXTS = ["a", "b", '"\n\\\t\r ø']
LANGUAGES = ["", "en", "nb-no"]
#: How N-Quads carry a text's direction (JSON-LD 1.1 API, section 8.2: `i18n-datatype`).
DIRECTIONS = ["https://www.w3.org/ns/i18n#ar-eg_rtl", "https://www.w3.org/ns/i18n#_ltr"]


def random_graph(seed: int) -> list[Quad]:
    """Up to twelve quads in one graph, with few nodes, so that many are alike."""
    chance = random.Random(seed)
    nodes = [f"_:n{number}" for number in range(chance.randint(1, 7))] + ["<https://example.org/x>"]
    predicates = ["<https://example.org/p>", "<https://example.org/q>"][: chance.randint(1, 2)]
    graph = chance.choice(["", "", "<https://example.org/g>", "_:n0"])

    def an_object() -> str:
        if chance.random() < 0.7:
            return chance.choice(nodes)
        text = chance.choice(TEXTS)
        if chance.random() < 0.2:
            return literal(text, datatype=chance.choice(DIRECTIONS))
        return literal(text, language=chance.choice(LANGUAGES))

    return [(chance.choice(nodes), chance.choice(predicates), an_object(), graph) for _ in range(chance.randint(1, 12))]


def repeats_a_blank_node(quads: list[Quad]) -> bool:
    blanks = ([term for term in quad if term.startswith(BLANK)] for quad in quads)
    return any(len(set(found)) < len(found) for found in blanks)


def meets_a_neighbour_again(quads: list[Quad]) -> bool:
    """Whether a blank node has another one at the same place of several of its quads: as the name of their graph."""
    met = Counter(
        (node, graph)
        for subject, _, object_, graph in dict.fromkeys(quads)
        for node in {subject, object_}
        if node.startswith(BLANK) and graph.startswith(BLANK)
    )
    return any(times > 1 for times in met.values())


def by_pyld(document: str) -> str:
    options = {"algorithm": "URDNA2015", "inputFormat": NQUADS, "format": NQUADS}
    text: str = jsonld.normalize(document, options)
    return text


def by_pyoxigraph(document: str) -> str:
    dataset = pyoxigraph.Dataset(pyoxigraph.parse(document.encode(), format=pyoxigraph.RdfFormat.N_QUADS))
    dataset.canonicalize(pyoxigraph.CanonicalizationAlgorithm.RDFC_1_0)
    return "".join(sorted(f"{quad} .\n" for quad in dataset))


@pytest.mark.parametrize("oracle", [by_pyld, by_pyoxigraph])
def test_canonical_form(oracle: Callable[[str], str]) -> None:
    asked = 0
    for seed in range(GRAPHS):
        quads = random_graph(seed)
        if repeats_a_blank_node(quads) or (oracle is by_pyoxigraph and meets_a_neighbour_again(quads)):
            continue
        try:
            ours = canonicalise(quads).document.decode()
        except InvalidArgument:
            continue
        assert oracle("".join(map(line, quads))) == ours, seed
        asked += 1
    assert asked > GRAPHS / 4


@pytest.fixture(scope="module")
def official(vectors: Path) -> dict[str, Any]:
    """Every pinned context as it is published, by URL."""
    described = {url: {"@context": context} for url, context in DESCRIBED.items()}
    files = {url: vectors / "contexts" / file for url, file in OFFICIAL.items()} | {OWN_URL: OWN}
    return described | {url: json.loads(path.read_text("utf-8")) for url, path in files.items()}


def expanded_by_pyld(document: Any, official: dict[str, Any]) -> tuple[str, ...]:
    def load(url: str, _options: Any) -> dict[str, Any]:
        return {"contextUrl": None, "documentUrl": url, "document": official[url], "contentType": "application/ld+json"}

    quads = jsonld.to_rdf(document, {"format": NQUADS, "documentLoader": load, "base": ""})
    return canonicalise(parse(quads)).lines


def published(vectors: Path) -> Iterator[tuple[str, Any]]:
    for folder in ("openbadges3", "vcdm2"):
        for path in sorted((vectors / folder).rglob("*.json")):
            yield path.name, json.loads(path.read_text())


def test_expansion_of_published_documents(vectors: Path, official: dict[str, Any]) -> None:
    asked = 0
    for name, document in published(vectors):
        try:
            ours = canonicalise(to_rdf(document)).lines
        except InvalidArgument:
            continue
        assert expanded_by_pyld(document, official) == ours, name
        asked += 1
    assert asked > 80


@pytest.mark.parametrize("form", [documents, open_badges])
@settings(max_examples=8, deadline=None)
@given(credential=credentials())
def test_expansion_of_what_we_issue(form: Any, official: dict[str, Any], credential: Credential) -> None:
    assume(credential.expires_on is None or credential.expires_on > credential.issued_at.date())
    document = form.to_document(credential, salt=bytes(16))
    assert expanded_by_pyld(document, official) == canonicalise(to_rdf(document)).lines


def test_expansion_of_a_full_badge(official: dict[str, Any]) -> None:
    badge = open_badges.to_document(sample_credential(holder=HOLDER_KEY.public_key), salt=bytes(16))
    assert expanded_by_pyld(badge, official) == canonicalise(to_rdf(badge)).lines
