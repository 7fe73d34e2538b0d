"""ELMO 1.7: the model there and back, the tree of wholes and parts, the signature, what is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
from signxml.algorithms import DigestAlgorithm, SignatureMethod
from signxml.signer import XMLSigner
from signxml.verifier import SignatureConfiguration, XMLVerifier

from tests.unit.credential_samples import (
    FOREIGN_KEY,
    PROVIDER_KEY,
    credentials,
    sample_achievement,
    sample_credential,
    texts,
)
from tests.unit.european_samples import (
    FOREIGN_SCALAR,
    SALT,
    SETTING,
    certificate,
    full_credential,
    issue,
)
from tests.unit.european_schemas import elmo_schema
from vitne.credentials.elmo.names import elmo, own
from vitne.credentials.elmo.places import WITHHELD_CREDIT
from vitne.credentials.elmo.reading import MAX_BYTES, MAX_CREDENTIALS, MAX_DEPTH, MAX_ELEMENTS, parse
from vitne.credentials.elmo.signature import parse_signed, prepare, sign
from vitne.credentials.elmo.text import carried
from vitne.credentials.elmo.writing import MAX_NESTING, Node, write
from vitne.credentials.model import Credential, Learner
from vitne.credentials.people import same_person
from vitne.errors import InvalidArgument
from vitne.identifiers import LearnerId, OrganisationId
from vitne_api.credential.v1 import credential_pb2

PREFIXES = {"e": elmo("")[1:-1], "v": own("")[1:-1], "ds": "http://www.w3.org/2000/09/xmldsig#"}


@pytest.fixture(scope="module")
def schema(vectors: Path) -> etree.XMLSchema:
    return elmo_schema(vectors / "elmo" / "v1.7.0")


def signed(*forest: Node) -> bytes:
    return sign(
        forest or [Node(full_credential(), setting=SETTING)], PROVIDER_KEY, certificates=[certificate()], salt=SALT
    )


def part(number: int, points: str) -> Credential:
    achievement = sample_achievement(
        id=f"01930f6e-7a00-7000-8000-00000000c{number:03}",
        title=texts(da=f"Del {number}"),
        workload=credential_pb2.Workload(unit="ects", points=points),
    )
    return sample_credential(achievement=achievement)


def klimaregnskaber() -> Node:
    """Five parts of 0.5 to 1.25 ECTS, and the module of 5 ECTS that they add up to."""
    whole = sample_achievement(
        title=texts(da="Klimaregnskaber"), workload=credential_pb2.Workload(unit="ects", points="5")
    )
    parts = [part(number, points) for number, points in enumerate(("1.25", "1.25", "1", "1", "0.5"), 1)]
    return Node(sample_credential(achievement=whole), tuple(map(Node, parts)))


def values(document: bytes, path: str) -> list[str]:
    found = etree.fromstring(document).xpath(path, namespaces=PREFIXES)
    return [item if isinstance(item, str) else "".join(item.itertext()) for item in found]


# --- There and back -------------------------------------------------------------------------------


def test_signed_document_comes_back_as_the_same_credential() -> None:
    credential = full_credential()
    read = parse_signed(signed(Node(credential, setting=SETTING)))
    assert [node.credential for node in read.document.nodes()] == [credential]
    assert read.key_id == PROVIDER_KEY.key_id
    assert read.verified_by(PROVIDER_KEY.public_key)
    assert not read.verified_by(FOREIGN_KEY.public_key)


@given(credentials())
@settings(max_examples=25)
def test_any_credential_comes_back_unless_xml_can_not_carry_its_text(credential: Credential) -> None:
    try:
        document = etree.tostring(write([Node(credential)], SALT), method="c14n")
    except InvalidArgument as error:
        assert error.reason == "TEXT_NOT_CARRIED"  # noqa: PT017 - either way is right, for different texts
        return
    assert [node.credential for node in parse(document).nodes()] == [credential]


@pytest.mark.parametrize("text", ["a\x00", "a\x1f", "￾", "￿"])
def test_text_that_xml_can_not_carry_is_refused_by_name(text: str) -> None:
    assert not carried(text)
    credential = sample_credential(learner=Learner(given_name=text, family_name="Prøvesen"))
    with pytest.raises(InvalidArgument) as refused:
        write([Node(credential)], SALT)
    assert (refused.value.reason, refused.value.field) == ("TEXT_NOT_CARRIED", "givenNames")


@pytest.mark.parametrize("text", [" a ", "a\tb\nc\r\nd", "<b>&amp;]]>", "é e\u0301 🎓\u2028", "\"'`"])
def test_awkward_text_comes_back_as_it_was(text: str) -> None:
    credential = sample_credential(
        learner=Learner(given_name=text, family_name=text), achievement=sample_achievement(title=texts(da=text))
    )
    read = parse_signed(signed(Node(credential)))
    assert [node.credential for node in read.document.nodes()] == [credential]
    assert read.verified()


def test_missing_mandatory_element_is_refused() -> None:
    with pytest.raises(InvalidArgument) as refused:
        write([Node(sample_credential(achievement=sample_achievement(outcomes=[])))], SALT)
    assert refused.value.reason == "MANDATORY_ELEMENT_MISSING"


# --- The schema -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "forest",
    [
        (Node(full_credential(), setting=SETTING),),
        (Node(sample_credential(grade=None, learner=Learner(given_name="Kari", family_name="Prøvesen"))),),
        (klimaregnskaber(),),
    ],
    ids=["everything", "least", "whole and parts"],
)
def test_documents_are_valid_by_the_official_schema(schema: etree.XMLSchema, forest: tuple[Node, ...]) -> None:
    schema.assertValid(etree.fromstring(signed(*forest)))


def test_the_official_example_is_read_and_its_learner_told(vectors: Path, schema: etree.XMLSchema) -> None:
    example = (vectors / "elmo" / "v1.7.0" / "example.xml").read_bytes()
    schema.assertValid(etree.fromstring(example))
    document = parse(example)
    assert (document.learner.given_name, document.learner.family_name) == ("Wojciech Łukasz", "Rygielski")
    with pytest.raises(InvalidArgument) as refused:
        list(document.nodes())
    assert refused.value.reason == "ELMO_MALFORMED"


def test_ects_stand_on_the_parts_and_never_on_the_whole_too() -> None:
    document = signed(klimaregnskaber())
    top = "/e:elmo/e:report/e:learningOpportunitySpecification"
    instance = "e:specifies/e:learningOpportunityInstance"
    assert values(document, f"{top}/{instance}/e:credit") == []
    assert values(document, WITHHELD_CREDIT) == ["5"]
    below = f"{top}/e:hasPart/e:learningOpportunitySpecification"
    assert values(document, f"{below}/{instance}/e:credit/e:value") == ["1.25", "1.25", "1", "1", "0.5"]
    assert values(document, f"{top}/e:type | {below}/e:type") == ["Module", *["Course"] * 5]
    assert next(iter(parse(document).reports)).forest == (klimaregnskaber(),)


def test_a_whole_that_states_ects_beside_its_parts_is_refused() -> None:
    document = write([klimaregnskaber()], SALT)
    instance = next(document.iter(elmo("learningOpportunityInstance")))
    withheld = next(instance.iter(own("credit")))
    instance[-1].remove(withheld)
    credit = etree.Element(elmo("credit"))
    etree.SubElement(credit, elmo("scheme")).text = "ects"
    etree.SubElement(credit, elmo("value")).text = "5"
    instance.insert(3, credit)
    with pytest.raises(InvalidArgument, match="ECTS stand on a whole and on a part"):
        list(parse(etree.tostring(document)).nodes())


def test_each_awarding_body_has_one_report() -> None:
    ours, again = sample_credential(), part(2, "1")
    body = replace(ours.awarding_body, id=OrganisationId.parse("0192:971035854"), country="NO")
    theirs = sample_credential(awarding_body=body, achievement=sample_achievement(provider="0192:971035854"))
    document = etree.tostring(write([Node(ours), Node(theirs), Node(again)], SALT))
    assert values(document, "//e:report/e:issuer/e:identifier") == ["0184:30859480", "0192:971035854"]
    reports = parse(document).reports
    assert [[node.credential for node in report.forest] for report in reports] == [[ours, again], [theirs]]


def test_learners_and_bodies_are_not_mixed() -> None:
    other = sample_credential(learner=Learner(given_name="Per", family_name="Prøvesen"))
    body = replace(other.awarding_body, country="NO")
    for forest, reason in (
        ([Node(sample_credential()), Node(other)], "LEARNERS_DIFFER"),
        ([Node(sample_credential(), (Node(sample_credential(awarding_body=body)),))], "BODIES_MIXED"),
    ):
        with pytest.raises(InvalidArgument) as refused:
            write(forest, SALT)
        assert refused.value.reason == reason


def test_levels_grading_and_the_type_of_micro_credentials() -> None:
    document = signed()
    levels = "//e:learningOpportunityInstance/e:level"
    assert values(document, f"{levels}/e:type") == ["EQF", "NQF"]
    assert values(document, f"{levels}/e:value") == ["5", "5"]
    assert values(document, f"{levels}[e:type='NQF']/e:description") == ["dk.nqf"]
    assert values(document, "//e:gradingSchemeLocalId | //e:gradingScheme/@localId") == ["provider", "provider"]
    assert values(document, "//e:report/e:attachment/e:type") == ["Micro Credential"]
    assert values(document, "//e:attachments/e:ref") == values(document, "//e:attachment/e:identifier")


def test_result_of_recognition_is_told_and_is_no_grade() -> None:
    recognised = sample_achievement(assessment=credential_pb2.ASSESSMENT_TYPE_PRIOR_LEARNING)
    for grade in (None, "Recognition of prior learning", "12"):
        credential = sample_credential(achievement=recognised, grade=grade)
        document = signed(Node(credential))
        assert values(document, "//e:resultLabel") == [grade or "Recognition of prior learning"]
        assert [node.credential.grade for node in parse(document).nodes()] == [grade]


# --- Whose it is ----------------------------------------------------------------------------------

KARI = sample_credential().learner


@pytest.mark.parametrize(
    ("expected", "same"),
    [
        (KARI, True),
        (replace(KARI, id=None, birth_date=None), True),
        (replace(KARI, given_name=" kari ", family_name="PRO\u0338VESEN".replace("O\u0338", "Ø")), True),
        (replace(KARI, family_name="Nordmann"), False),
        (replace(KARI, given_name=None), False),
        (replace(KARI, birth_date=None, id=LearnerId("no.national_id", "01825500123")), False),
        (replace(KARI, id=None, birth_date=KARI.birth_date and KARI.birth_date.replace(day=2)), False),
    ],
)
def test_another_persons_document_is_told(expected: Learner, same: bool) -> None:
    assert same_person(parse(signed()).learner, expected) is same


# --- The signature --------------------------------------------------------------------------------


def test_an_independent_verifier_accepts_it() -> None:
    configuration = SignatureConfiguration(location="./")
    result = XMLVerifier().verify(signed(), x509_cert=certificate().parsed, expect_config=configuration)
    assert not isinstance(result, list)
    assert b"resultLabel" in result.signed_data


def test_the_signature_is_over_the_whole_with_the_certificate_and_sha_256() -> None:
    document = signed()
    assert values(document, "//ds:Reference/@URI") == [""]
    assert values(document, "//ds:SignatureMethod/@Algorithm") == [SignatureMethod.ECDSA_SHA256.value]
    assert values(document, "//ds:DigestMethod/@Algorithm") == [DigestAlgorithm.SHA256.value]
    assert values(document, "//ds:X509Certificate") == [certificate().base64]


def test_prepared_twice_is_signed_the_same_and_is_canonical() -> None:
    node = Node(full_credential(), setting=SETTING)
    one, two = (prepare([node], certificates=[certificate()], salt=SALT) for _ in range(2))
    assert one == two
    document = one.complete(PROVIDER_KEY.sign(one.signing_input))
    assert document == signed() == parse(document).canonical


def test_written_otherwise_it_is_the_same_artefact() -> None:
    document = signed()
    other = b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- as stored -->" + document.replace(b"</v:recognised>", b"")
    assert parse(other).digest == parse(document).digest
    assert parse_signed(other).verified()


@pytest.mark.parametrize(
    ("method", "digest"),
    [(SignatureMethod.RSA_SHA256, DigestAlgorithm.SHA256), (SignatureMethod.RSA_SHA512, DigestAlgorithm.SHA384)],
)
def test_rsa_of_others_is_read(method: SignatureMethod, digest: DigestAlgorithm) -> None:
    key = rsa.generate_private_key(65537, 2048)
    read = parse_signed(foreign(key, method, digest))
    assert read.verified()
    assert read.key_id == ""


def foreign(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, method: SignatureMethod, digest: DigestAlgorithm
) -> bytes:
    signer = XMLSigner(signature_algorithm=method, digest_algorithm=digest)
    pem = issue(key).public_bytes(Encoding.PEM).decode()
    return etree.tostring(signer.sign(write([Node(full_credential())], SALT), key=key, cert=pem))


class _Sha1Signer(XMLSigner):
    def check_deprecated_methods(self) -> None:
        pass


@pytest.mark.parametrize(
    ("method", "digest"),
    [(SignatureMethod.RSA_SHA1, DigestAlgorithm.SHA256), (SignatureMethod.RSA_SHA256, DigestAlgorithm.SHA1)],
)
def test_sha_1_is_refused(method: SignatureMethod, digest: DigestAlgorithm) -> None:
    key = rsa.generate_private_key(65537, 2048)
    signer = _Sha1Signer(signature_algorithm=SignatureMethod.RSA_SHA256)
    signer.sign_alg, signer.digest_alg = method, digest
    pem = issue(key).public_bytes(Encoding.PEM).decode()
    document = etree.tostring(signer.sign(write([Node(full_credential())], SALT), key=key, cert=pem))
    with pytest.raises(InvalidArgument) as refused:
        parse_signed(document)
    assert refused.value.reason == "ALGORITHM_REFUSED"


def test_short_rsa_keys_are_refused() -> None:
    key = rsa.generate_private_key(65537, 1024)
    with pytest.raises(InvalidArgument) as refused:
        parse_signed(foreign(key, SignatureMethod.RSA_SHA256, DigestAlgorithm.SHA256))
    assert refused.value.reason == "BAD_CERTIFICATE"


def test_certificate_of_another_key_is_refused() -> None:
    with pytest.raises(InvalidArgument) as refused:
        sign([Node(full_credential())], FOREIGN_KEY, certificates=[certificate()], salt=SALT)
    assert refused.value.reason == "BAD_CERTIFICATE"


# --- Mutations ------------------------------------------------------------------------------------


def swap(document: bytes, old: bytes, new: bytes) -> bytes:
    assert old in document, old
    return document.replace(old, new, 1)


SIGNATURE = re.compile(b"<ds:Signature .*</ds:Signature>", re.DOTALL)
REPORT = re.compile(b"<report>.*</report>", re.DOTALL)
FOREIGN_SIGNED = sign(
    [Node(full_credential(), setting=SETTING)], FOREIGN_KEY, certificates=[certificate(FOREIGN_SCALAR)], salt=SALT
)
DOCUMENT = signed()
MUTATIONS: dict[str, Callable[[bytes], bytes]] = {
    "another name": lambda d: swap(d, "Prøvesen".encode(), b"Nordmann"),
    "another grade": lambda d: swap(d, b"<resultLabel>12<", b"<resultLabel>10<"),
    "more points": lambda d: swap(d, b"<value>1.25<", b"<value>5.00<"),
    "another level": lambda d: swap(d, b"<value>5</value>", b"<value>8</value>"),
    "another day": lambda d: swap(d, b"<date>2026-11-20<", b"<date>2026-11-19<"),
    "aged": lambda d: swap(d, b"2026-11-21T10:00:00.214Z</issueDate>", b"2020-11-21T10:00:00.214Z</issueDate>"),
    "another status index": lambda d: swap(d, b"70931", b"70932"),
    "another status list": lambda d: swap(d, b"/2026/dk-7", b"/2026/dk-8"),
    "another issuer": lambda d: swap(d, b"0184:30859480</identifier>", b"0184:99000007</identifier>"),
    "never expires": lambda d: re.sub(rb'"exp":\d+,', b"", d),
    "another salt": lambda d: swap(d, b"<v:salt>A", b"<v:salt>B"),
    "no learner's day of birth": lambda d: re.sub(rb"<bday>.*</bday>", b"", d),
    "a report twice": lambda d: REPORT.sub(lambda found: found[0] * 2, d),
    "a space between elements": lambda d: swap(d, b"</bday>", b"</bday> "),
    "titles in another order": lambda d: re.sub(
        rb"(<title[^>]*>Kl[^<]*</title>)(<title[^>]*>[^<]*</title>)", rb"\2\1", d
    ),
    "another digest": lambda d: re.sub(rb"<ds:DigestValue>..", b"<ds:DigestValue>AA", d),
    "another signature": lambda d: re.sub(rb"<ds:SignatureValue>..", b"<ds:SignatureValue>AA", d),
    "signature cut": lambda d: re.sub(rb"(<ds:SignatureValue>)....", rb"\1", d),
    "signature of another key": lambda d: SIGNATURE.sub(lambda _: SIGNATURE.findall(FOREIGN_SIGNED)[0], d),
    "certificate of another key": lambda d: swap(
        d, certificate().base64.encode(), certificate(FOREIGN_SCALAR).base64.encode()
    ),
    "signed again by another": lambda _: FOREIGN_SIGNED,
    "signature removed": lambda d: SIGNATURE.sub(b"", d),
    "signature twice": lambda d: SIGNATURE.sub(lambda found: found[0] * 2, d),
    "signature moved inside": lambda d: swap(
        SIGNATURE.sub(b"", d), b"</learner>", SIGNATURE.findall(d)[0] + b"</learner>"
    ),
    "reference to a part": lambda d: swap(d, b'URI=""', b'URI="#learner"'),
    "reference twice": lambda d: re.sub(rb"<ds:Reference.*</ds:Reference>", lambda found: found[0] * 2, d),
    "a transform that leaves parts out": lambda d: swap(
        d,
        b"</ds:Transforms>",
        b'<ds:Transform Algorithm="http://www.w3.org/TR/1999/REC-xpath-19991116"><ds:XPath>1</ds:XPath>'
        b"</ds:Transform></ds:Transforms>",
    ),
    "not enveloped": lambda d: swap(d, b"xmldsig#enveloped-signature", b"xmldsig#base64"),
    "HMAC with the public key": lambda d: swap(d, b"xmldsig-more#ecdsa-sha256", b"xmldsig-more#hmac-sha256"),
    "SHA-1": lambda d: swap(d, b"xmldsig-more#ecdsa-sha256", b"xmldsig-more#ecdsa-sha1"),
    "SHA-1 of the document": lambda d: swap(
        d, b"http://www.w3.org/2001/04/xmlenc#sha256", b"http://www.w3.org/2000/09/xmldsig#sha1"
    ),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_mutations_fail(name: str) -> None:
    document = signed()
    mutated = MUTATIONS[name](document)
    assert mutated != document
    try:
        assert not parse_signed(mutated).verified_by(PROVIDER_KEY.public_key)
    except InvalidArgument as error:
        assert all((error.reason, error.rule, error.remedy))  # noqa: PT017 - refused by name is as good


HARMLESS: dict[str, Callable[[bytes], bytes]] = {
    # Canonical XML leaves out comments, and so does what is read: a name that one splits is read whole.
    "a comment in a name": lambda d: swap(d, b"<givenNames>Ka", b"<givenNames>Ka<!-- -->"),
    "a processing instruction before the root": lambda d: b"<?x y?>" + d,
    "attributes in other quotes": lambda d: re.sub(rb'type="local"', b"type='local'", d),
    "a character as a reference": lambda d: swap(d, b">Kari<", b">&#75;ari<"),
    "CDATA": lambda d: swap(d, b">Kari<", b"><![CDATA[Kari]]><"),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_mutations_that_change_nothing_are_harmless(name: str) -> None:
    document = signed()
    read = parse_signed(HARMLESS[name](document))
    assert read.verified_by(PROVIDER_KEY.public_key)
    assert read.document.digest == parse(document).digest
    assert [node.credential for node in read.document.nodes()] == [full_credential()]


@given(st.floats(0, 1, exclude_max=True), st.integers(0, 7))
@settings(max_examples=40)
def test_a_flipped_bit_never_verifies_as_something_else(place: float, bit: int) -> None:
    document = bytearray(DOCUMENT)
    document[int(place * len(document))] ^= 1 << bit
    try:
        read = parse_signed(bytes(document))
        if read.verified_by(PROVIDER_KEY.public_key):
            # Bits of the certificate but its key, say.
            assert [node.credential for node in read.document.nodes()] == [full_credential()]
    except InvalidArgument as error:
        assert error.reason  # noqa: PT017 - refused by name is as good


# --- Limits ---------------------------------------------------------------------------------------

ENTITY = b'<?xml version="1.0"?><!DOCTYPE elmo [<!ENTITY a "b">]>'
BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY l "lol">'
    + b"".join(
        b'<!ENTITY l%d "%s">' % (n, b"&l%s;" % (str(n - 1).encode() if n > 1 else b"") * 10) for n in range(1, 10)
    )
    + b"]><elmo>&l9;</elmo>"
)
ROOT = f'<elmo xmlns="{PREFIXES["e"]}">'.encode()
LOS = b"<learningOpportunitySpecification/>"


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (b" " * (MAX_BYTES + 1), "TOO_LARGE"),
        (ROOT + b"<a>" * MAX_DEPTH + b"</a>" * MAX_DEPTH + b"</elmo>", "TOO_DEEP"),
        (ROOT + b"<a/>" * MAX_ELEMENTS + b"</elmo>", "TOO_MANY_ELEMENTS"),
        (ENTITY + ROOT + b"&a;</elmo>", "DTD_REFUSED"),
        (b"<!DOCTYPE elmo>" + ROOT + b"</elmo>", "DTD_REFUSED"),
        (b'<!DOCTYPE elmo SYSTEM "file:///etc/passwd">' + ROOT + b"</elmo>", "DTD_REFUSED"),
        (b"", "BAD_XML"),
        (b"{}", "BAD_XML"),
        (ROOT, "BAD_XML"),
        (ROOT + b"\xff</elmo>", "BAD_XML"),
        (ROOT + b"</elmo>" + ROOT + b"</elmo>", "BAD_XML"),
        (ROOT.decode().encode("utf-16") + "</elmo>".encode("utf-16-le"), "BAD_XML"),
        (b"<elmo/>", "NOT_ELMO"),
    ],
)
def test_each_limit_has_its_error(document: bytes, reason: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        parse(document)
    assert refused.value.reason == reason
    assert refused.value.remedy


def test_an_entity_bomb_is_refused() -> None:
    with pytest.raises(InvalidArgument) as refused:
        parse(BOMB)
    assert refused.value.reason in {"DTD_REFUSED", "BAD_XML"}


def test_too_many_credentials_and_too_deep_trees_are_refused() -> None:
    many = ROOT + b"<learner><givenNames/><familyName/></learner>" + LOS * (MAX_CREDENTIALS + 1) + b"</elmo>"
    with pytest.raises(InvalidArgument) as refused:
        list(parse(many).nodes())
    assert refused.value.reason == "TOO_MANY_CREDENTIALS"
    node = Node(sample_credential())
    for _ in range(MAX_NESTING):
        node = Node(sample_credential(), (node,))
    with pytest.raises(InvalidArgument) as refused:
        write([node], SALT)
    assert refused.value.reason == "TOO_DEEP"


def test_nothing_of_a_path_of_this_machine_is_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    external = f'<!DOCTYPE elmo [<!ENTITY a SYSTEM "{secret.as_uri()}">]>'.encode()
    with pytest.raises(InvalidArgument):
        parse(external + ROOT + b"&a;</elmo>")
