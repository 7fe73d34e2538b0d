"""ELMO 1.7: the official schema over its own example and over what we sign; what is not ELMO, or not signed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from lxml import etree

from services.portal.emrex.answering import forest as forest_of
from tests.conformance.frame import Case, Suite, expect_equal, expect_refusal
from tests.unit.credential_samples import PROVIDER_KEY, sample_credential
from tests.unit.emrex_samples import differing
from tests.unit.european_samples import SALT, SETTING, certificate, full_credential
from tests.unit.european_schemas import elmo_schema
from vitne.credentials.elmo.reading import parse
from vitne.credentials.elmo.signature import parse_signed, sign
from vitne.credentials.elmo.writing import Node
from vitne.credentials.model import Learner

VERSION = "v1.7.0"
LEAST = sample_credential(grade=None, learner=Learner(given_name="Kari", family_name="Prøvesen"))
#: What is written, signed, and held against the schema.
FORESTS = {
    "everything": (Node(full_credential(), setting=SETTING),),
    "least": (Node(LEAST),),
    "a whole and its part": (Node(full_credential(), (Node(full_credential()),), SETTING),),
}


def cases(folder: Path) -> Iterator[Case]:
    schema = elmo_schema(folder / VERSION)
    example = (folder / VERSION / "example.xml").read_bytes()
    yield Case("example.xml is valid", lambda: schema.assertValid(etree.fromstring(example)))
    yield Case("example.xml says whose it is", lambda: expect_equal(parse(example).learner.family_name, "Rygielski"))
    yield Case("example.xml is not signed", lambda: expect_refusal(lambda: parse_signed(example)))
    yield Case(
        "the schema is no document",
        lambda: expect_refusal(lambda: parse((folder / VERSION / "schema.xsd").read_bytes())),
    )
    for name, forest in FORESTS.items():
        yield Case(f"{name}: valid, verified, and back", partial(check, schema, forest))
    # As the portal's EMP answers: several institutions, each result with its issuer's own credential.
    yield Case("an EMREX answer: valid, verified, and back", partial(check, schema, tuple(forest_of(differing()))))


def check(schema: etree.XMLSchema, forest: tuple[Node, ...]) -> None:
    document = sign(forest, PROVIDER_KEY, certificates=[certificate()], salt=SALT)
    schema.assertValid(etree.fromstring(document))
    read = parse_signed(document)
    expect_equal(read.verified_by(PROVIDER_KEY.public_key), True)
    expect_equal(
        [node.credential for node in read.document.nodes()],
        [node.credential for tree in forest for node in tree.walk()],
    )


SUITE = Suite("elmo", "ELMO 1.7: the schema, and a signature over the whole", cases)
