"""EMREX without a portal: the envelope, who may ask, who may answer, whose results they are, what is answered."""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import re
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
from signxml.algorithms import DigestAlgorithm, SignatureMethod
from signxml.signer import XMLSigner

from services.portal.emrex import results
from services.portal.emrex.addresses import check_address, policy_source
from services.portal.emrex.answering import answerable, chosen, forest
from services.portal.emrex.checking import check
from services.portal.emrex.clients import Clients
from services.portal.emrex.envelope import MAX_ENCODED, seal, unseal
from services.portal.emrex.person import Match, Name, Stated, match
from services.portal.emrex.protocol import Answer, ReturnCode, return_code, session_id
from services.portal.emrex.providers import DataProvider, DataProviders
from services.portal.store import Kept
from services.portal.texts import TEXTS, best_text
from tests.unit.credential_samples import FOREIGN_KEY, PROVIDER_KEY, sample_credential
from tests.unit.emrex_samples import (
    ACRONYM,
    BORN,
    KARI,
    NOW,
    NUMBER,
    clients_file,
    differing,
    document,
    entry,
    expected,
    held,
    learner,
    pem,
    provider,
    providers_file,
    sent_by_another,
)
from tests.unit.european_samples import FOREIGN_SCALAR, PROVIDER_SCALAR, SALT, certificate, issue
from tests.unit.european_schemas import elmo_schema
from tests.unit.test_portal_presentation import kept
from vitne.credentials import sd_jwt_vc
from vitne.credentials.elmo.names import ORIGINAL_TYPE, elmo
from vitne.credentials.elmo.reading import MAX_BYTES, parse
from vitne.credentials.elmo.signature import parse_signed, sign
from vitne.credentials.model import Credential
from vitne.errors import FailedPrecondition, InvalidArgument, NotFound, VitneError
from vitne.identifiers import LearnerId, norwegian_birth_date

RETURN_URL = "https://client.example/emrex/return"
EXAMPLE = Path("elmo", "v1.7.0", "example.xml")


def reason(of: Callable[[], Any]) -> str:
    with pytest.raises(VitneError) as refused:
        of()
    return refused.value.reason


# --- The envelope ---------------------------------------------------------------------------------


@given(st.binary(max_size=2000))
def test_what_is_sealed_is_unsealed(document_: bytes) -> None:
    assert unseal(seal(document_)) == document_


@given(st.binary(max_size=300), st.data())
def test_an_envelope_that_was_cut_anywhere_is_refused(document_: bytes, data: st.DataObject) -> None:
    compressed = gzip.compress(document_)
    length = data.draw(st.integers(0, len(compressed) - 1))
    assert reason(lambda: unseal(base64.b64encode(compressed[:length]).decode())) == "ENVELOPE_BROKEN"


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: base64.b64encode(raw).decode()))
def test_whatever_comes_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidArgument):
        assert unseal(text) == gzip.decompress(base64.b64decode("".join(text.split())))


@pytest.mark.parametrize(
    ("compressed", "said"),
    [
        (gzip.compress(bytes(MAX_BYTES + 1)), "ENVELOPE_TOO_LARGE"),
        (gzip.compress(bytes(20 * MAX_BYTES)), "ENVELOPE_TOO_LARGE"),
        (gzip.compress(b"<elmo/>") + b"more", "ENVELOPE_BROKEN"),
        (gzip.compress(b"<a/>") + gzip.compress(b"<b/>"), "ENVELOPE_BROKEN"),
        (gzip.compress(b"<elmo/>")[:-5] + b"wrong", "ENVELOPE_BROKEN"),
        (b"<elmo/>", "ENVELOPE_BROKEN"),
        (b"", "ENVELOPE_BROKEN"),
    ],
    ids=["large", "bomb", "trailing", "two", "crc", "plain", "empty"],
)
def test_a_bad_envelope_is_refused(compressed: bytes, said: str) -> None:
    assert reason(lambda: unseal(base64.b64encode(compressed).decode())) == said


def test_an_envelope_is_bounded_before_it_is_opened_and_may_have_line_breaks() -> None:
    assert reason(lambda: unseal("A" * (MAX_ENCODED + 1))) == "ENVELOPE_TOO_LARGE"
    text = seal(bytes(range(256)) * 4)
    assert unseal("\r\n".join(text[at : at + 76] for at in range(0, len(text), 76))) == bytes(range(256)) * 4


# --- Requests -------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["a" * 32, "8f14e45f-ceea-4c5a", "node1!abc+/=:~", "12345678"])
def test_a_session_id_comes_back_as_it_was(text: str) -> None:
    assert Answer(session_id(text), ReturnCode.CANCEL).fields() == {
        "sessionId": text,
        "returnCode": "NCP_CANCEL",
        "returnMessage": "",
        "elmo": "",
    }


@pytest.mark.parametrize(
    "text", ["", "short", "a" * 129, '"><script>alert(1)</script>', "a b c d e f", "abcdefgh\n", "abcdefgh\0", "æ" * 32]
)
def test_a_hostile_session_id_is_refused(text: str) -> None:
    assert reason(lambda: session_id(text)) == "SESSION_ID_REFUSED"


@pytest.mark.parametrize("text", ["", "NCP_FINE", "ncp_ok", "NCP_OK "])
def test_an_unknown_return_code_is_refused(text: str) -> None:
    assert reason(lambda: return_code(text)) == "RETURN_CODE_UNKNOWN"


@pytest.mark.parametrize(
    "asked",
    [
        "https://client.example/emrex/return/",
        "https://client.example/emrex/return?to=https://evil.example",
        "https://client.example/emrex/return#x",
        "https://client.example/emrex/../emrex/return",
        "https://CLIENT.example/emrex/return",
        "https://client.example:443/emrex/return",
        "http://client.example/emrex/return",
        "https://client.example.evil.example/emrex/return",
        "https://client.example@evil.example/emrex/return",
        "//client.example/emrex/return",
        "javascript:alert(1)",
        " https://client.example/emrex/return",
        "https://client.example/emrex/return\n",
        "",
    ],
)
def test_nothing_but_the_registered_characters_is_a_registered_return_url(tmp_path: Path, asked: str) -> None:
    clients = Clients.read(clients_file(tmp_path, RETURN_URL), allow_http=False)
    assert clients.of(RETURN_URL).name == "Klient <1>"
    with pytest.raises(InvalidArgument) as refused:
        clients.of(asked)
    assert refused.value.reason == "RETURN_URL_NOT_REGISTERED"
    assert "evil" not in str(refused.value)


@pytest.mark.parametrize(
    "address",
    [
        "http://client.example/r",
        "https://client.example",
        "https://user@client.example/r",
        "https://client.example/r;script-src",
        "https://client.example/r 'unsafe-inline'",
        "https://client.example/r,*",
        "https://client.example/r#f",
        "https://client.example/" + "r" * 1024,
        "ftp://client.example/r",
        "https://client.example/r\n",
    ],
)
def test_an_address_that_a_policy_cant_name_exactly_is_not_registered(tmp_path: Path, address: str) -> None:
    with pytest.raises(FailedPrecondition, match="EMREX_FILE_REFUSED"):
        Clients.read(clients_file(tmp_path, address), allow_http=False)


def test_addresses_of_development_and_their_source_in_a_policy() -> None:
    assert check_address("http://127.0.0.1:8080/r?a=1", allow_http=True) == "http://127.0.0.1:8080/r?a=1"
    assert policy_source("https://client.example/r?a=1") == "https://client.example/r"


@pytest.mark.parametrize("text", ["", "[]", '{"clients": [{"name": 1}]}', '{"clients": [], "more": 1}'])
def test_a_file_of_clients_that_cant_be_read_stops_the_start(tmp_path: Path, text: str) -> None:
    file = tmp_path / "clients.json"
    file.write_text(text)
    for each in (file, tmp_path / "missing.json"):
        with pytest.raises(FailedPrecondition, match="EMREX_FILE_REFUSED"):
            Clients.read(each, allow_http=False)


def test_without_files_nobody_asks_and_nobody_is_asked() -> None:
    assert reason(lambda: Clients.read(None, allow_http=False).of(RETURN_URL)) == "RETURN_URL_NOT_REGISTERED"
    assert list(DataProviders.read(None, allow_http=False)) == []


# --- Data providers -------------------------------------------------------------------------------


def test_a_key_is_known_however_it_is_written(tmp_path: Path) -> None:
    own = certificate(1003)
    public = own.parsed.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    for written in (pem(), own.base64, public):
        assert provider(tmp_path, pubKey=written).signed_with(own)
        assert not provider(tmp_path, pubKey=written).signed_with(certificate(PROVIDER_SCALAR))


@pytest.mark.parametrize(
    "changes",
    [
        {"pubKey": "nothing"},
        {"url": "http://emp.example/"},
        {"acronym": 1},
        {"url": ""},
        {"countryCode": "no"},
        {"countryCode": "NOR"},
        {"countryCode": "N\n"},
        {"logInOrigins": ["https:"]},
        {"logInOrigins": ["https://log-in.example/"]},
        {"logInOrigins": ["http://log-in.example"]},
        {"logInOrigins": ["https://*.example"]},
    ],
)
def test_an_entry_that_cant_be_used_stops_the_start(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(FailedPrecondition, match="EMREX_FILE_REFUSED"):
        provider(tmp_path, **changes)


def uncounted() -> list[str]:
    """Keys whose signatures don't count, in each form that an entry may have."""
    short = rsa.generate_private_key(65537, 1024)
    made = issue(short)
    public = [one.public_key() for one in (short, ed25519.Ed25519PrivateKey.generate())]
    return [
        made.public_bytes(Encoding.PEM).decode(),
        base64.b64encode(made.public_bytes(Encoding.DER)).decode(),
        *(one.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode() for one in public),
    ]


def test_a_key_whose_signatures_dont_count_stops_the_start(tmp_path: Path) -> None:
    for written in uncounted():
        with pytest.raises(FailedPrecondition, match="EMREX_FILE_REFUSED"):
            provider(tmp_path, pubKey=written)


def test_what_is_there_twice_stops_the_start(tmp_path: Path) -> None:
    for read, file in (
        (DataProviders.read, providers_file(tmp_path, entry(), entry(countryCode="NO"))),
        (Clients.read, clients_file(tmp_path, RETURN_URL, RETURN_URL)),
    ):
        with pytest.raises(FailedPrecondition, match="EMREX_FILE_REFUSED"):
            read(file, allow_http=False)


def test_an_unknown_provider_is_refused(tmp_path: Path) -> None:
    providers = DataProviders.read(providers_file(tmp_path, entry(), entry(acronym="YY")), allow_http=False)
    assert [one.acronym for one in providers] == [ACRONYM, "YY"]
    with pytest.raises(NotFound, match="DATA_PROVIDER_UNKNOWN"):
        providers.of("ZZ")


# --- Whose results --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stated", "known", "answer"),
    [
        (Stated(KARI, BORN), [KARI], "same"),
        (Stated(Name("KARI MARIE", "PROVESEN"), BORN), [KARI], "same"),
        (Stated(Name("Kari", "Prøvesen-Ås"), BORN), [Name("Kari Ann", "Aas"), Name("Kari", "As Prövesen")], "same"),
        (Stated(Name("Đuro", "Þórr"), BORN), [Name("Duro", "Thorr")], "same"),
        (Stated(Name("Kari", "Testesen"), BORN), [KARI], "unsure"),
        (Stated(Name("K", "Prøvesen"), BORN), [KARI], "unsure"),
        (Stated(KARI, BORN), [], "unsure"),
        (Stated(Name("", ""), BORN), [KARI], "unsure"),
        (Stated(KARI, None), [KARI], "unsure"),
        (Stated(KARI, None), [], "OTHER_PERSON"),
        (Stated(Name("Ola", "Prøvesen"), None), [KARI], "OTHER_PERSON"),
        (Stated(KARI, date(1955, 2, 2)), [KARI], "OTHER_PERSON"),
        (Stated(Name("Anything", "Else"), date(1900, 1, 1), number_is_hers=True), [KARI], "same"),
        (Stated(KARI, BORN, number_is_hers=False), [KARI], "OTHER_PERSON"),
    ],
)
def test_whose_results_they_are(stated: Stated, known: list[Name], answer: str) -> None:
    if answer in set(Match):
        assert match(stated, birth_date=BORN, names=known) == answer
    else:
        assert reason(lambda: match(stated, birth_date=BORN, names=known)) == answer


def test_a_number_says_when_somebody_was_born() -> None:
    assert norwegian_birth_date(NUMBER) == BORN
    assert norwegian_birth_date(f"{NUMBER[:-1]}{(int(NUMBER[-1]) + 1) % 10}") is None


# --- What is checked of an answer -----------------------------------------------------------------


def test_results_that_hold_are_received(tmp_path: Path) -> None:
    signed = document(learner=learner())
    received = check(seal(signed), expected(provider(tmp_path)), NOW)
    assert (received.document, received.match) == (signed, Match.SAME)


def test_a_norwegian_number_decides_where_a_norwegian_provider_states_it(tmp_path: Path) -> None:
    number = LearnerId("no.national_id", NUMBER)
    foreign = document(learner=learner(id=number, given_name="Someone"))
    assert check(seal(foreign), expected(provider(tmp_path)), NOW).match is Match.UNSURE
    norwegian = provider(tmp_path, countryCode="NO")
    assert check(seal(foreign), expected(norwegian), NOW).match is Match.SAME
    other = expected(norwegian, is_hers=lambda _: False)
    assert reason(lambda: check(seal(foreign), other, NOW)) == "OTHER_PERSON"


def resigned(method: SignatureMethod, digest: DigestAlgorithm, **changes: Any) -> bytes:
    """The same document with another signature."""
    signed = parse(document(learner=learner()))
    signed.root.remove(signed.signature)
    key = rsa.generate_private_key(65537, 2048)

    class Lenient(XMLSigner):
        def check_deprecated_methods(self) -> None:
            """SHA-1 is what the test wants to see refused."""

    signer = Lenient(signature_algorithm=method, digest_algorithm=digest)
    root = signer.sign(signed.root, key=key, cert=[issue(key).public_bytes(Encoding.PEM).decode()])
    return etree.tostring(root, method="c14n")


@pytest.mark.parametrize(
    ("envelope", "said"),
    [
        (lambda: seal(document(learner=learner(birth_date=date(1990, 1, 1)))), "OTHER_PERSON"),
        (lambda: seal(document(key=PROVIDER_KEY, scalar=PROVIDER_SCALAR)), "EMP_KEY_UNKNOWN"),
        (lambda: seal(document().replace(b"<resultLabel>12<", b"<resultLabel>7<")), "EMP_SIGNATURE_WRONG"),
        (lambda: seal(document().replace(b"1955-02-01", b"1955-02-02")), "EMP_SIGNATURE_WRONG"),
        (lambda: seal(re.sub(rb"<ds:Signature .*</ds:Signature>", b"", document())), "ELMO_NOT_SIGNED"),
        (lambda: seal(resigned(SignatureMethod.RSA_SHA1, DigestAlgorithm.SHA1)), "ALGORITHM_REFUSED"),
        (lambda: seal(resigned(SignatureMethod.RSA_SHA256, DigestAlgorithm.SHA256)), "EMP_KEY_UNKNOWN"),
        (lambda: seal(document(at=NOW - timedelta(days=1, seconds=1))), "ELMO_STALE"),
        (lambda: seal(document(at=NOW + timedelta(minutes=6))), "ELMO_STALE"),
        (lambda: seal(b'<!DOCTYPE e [<!ENTITY x "y">]><elmo>&x;</elmo>'), "DTD_REFUSED"),
        (lambda: seal(b'<!DOCTYPE e SYSTEM "file:///etc/passwd"><elmo/>'), "DTD_REFUSED"),
        (lambda: seal(b"<html/>"), "NOT_ELMO"),
        (lambda: seal(b"no xml"), "BAD_XML"),
        (lambda: seal(document().replace(b"<report>", b"<a>" * 50 + b"</a>" * 50 + b"<report>")), "TOO_DEEP"),
        (lambda: seal(document().replace(b"<report>", b"<a/>" * 20_001 + b"<report>")), "TOO_MANY_ELEMENTS"),
        (lambda: seal(sent_by_another(document(), at="")), "ELMO_MALFORMED"),
        (lambda: seal(sent_by_another(document(), at="2026-11-22T10:00:00")), "BAD_INSTANT"),
        (lambda: seal(document())[:-8], "ENVELOPE_BROKEN"),
        (lambda: "", "ENVELOPE_BROKEN"),
    ],
    ids=[
        *("person", "key", "grade", "birth", "unsigned", "sha1", "rsa", "old", "early", "entity", "system", "html"),
        *("text", "deep", "many", "dateless", "zoneless", "truncated", "empty"),
    ],
)
def test_results_that_dont_hold_are_refused(tmp_path: Path, envelope: Callable[[], str], said: str) -> None:
    assert reason(lambda: check(envelope(), expected(provider(tmp_path)), NOW)) == said
    assert said in TEXTS["nb"]["refused"], "she is told what it means for her"


# --- What any document says -----------------------------------------------------------------------


def test_the_official_example_is_read(vectors: Path) -> None:
    """What another has written: ELMO 1.7's own example, with wholes, parts, groups and things that are unknown here."""
    read = results.read(parse((vectors / EXAMPLE).read_bytes()))
    assert read.name.family == "Rygielski"
    assert read.birth_date is not None
    (institution,) = read.institutions
    assert (institution.names, institution.country, institution.originals, read.attachments) == (
        {"pl": "Uniwersytet Warszawski", "en": "University of Warsaw"},
        "PL",
        0,
        5,
    )
    degree, _, compilers, lecture, _, html = institution.results
    assert [one.depth for one in institution.results] == [0, 1, 0, 1, 1, 0]
    assert (degree.awarded_on, degree.credits) == ("2009-06-15", (("120", "ECTS"),))
    assert best_text(degree.titles, ["nb"]) == ("no", "Master i biologi"), "what others call Norwegian is bokmål"
    assert (compilers.grade, compilers.scale["pl"].partition(" ")[0]) == ("45.1", "Liczba")
    assert compilers.levels == (("eqf", "5"), ("Norwegian Qualification Framework", "5"))
    assert (lecture.hours, lecture.scale, lecture.passed) == ("30", {}, True)
    assert html.titles == {"und": "The importance of <br> in HTML"}


@pytest.mark.parametrize("method", ["ecdsa", "rsa"])
def test_what_another_s_software_wrote_is_received(tmp_path: Path, vectors: Path, method: str) -> None:
    key = rsa.generate_private_key(65537, 2048) if method == "rsa" else None
    listed = provider(tmp_path, **({"pubKey": issue(key).public_bytes(Encoding.PEM).decode()} if key else {}))
    text = (vectors / EXAMPLE).read_bytes().replace(b"1983-04-12", BORN.isoformat().encode())
    received = check(seal(sent_by_another(text, key)), expected(listed), NOW)
    assert received.match is Match.UNSURE, "another name than she is known by"
    same = expected(listed, names=[Name("Wojciech", "Rygielski")])
    assert check(seal(sent_by_another(text, key)), same, NOW).match is Match.SAME


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (lambda text: text, "ALGORITHM_REFUSED"),  # as it is published: RSA with 1024 bits and SHA-1
        (sent_by_another, "OTHER_PERSON"),
        (lambda text: sent_by_another(text, at="2015-10-31T12:00:00+02:00"), "ELMO_STALE"),
        (lambda text: sent_by_another(text, ec.derive_private_key(7, ec.SECP256R1())), "EMP_KEY_UNKNOWN"),
        (
            lambda text: text.replace(b"Signature xmlns", b"Other xmlns").replace(b"/Signature>", b"/Other>"),
            "ELMO_NOT_SIGNED",
        ),
    ],
    ids=["published", "person", "old", "key", "unsigned"],
)
def test_the_official_example_is_refused_for_what_does_not_hold(
    tmp_path: Path, vectors: Path, changed: Callable[[bytes], bytes], said: str
) -> None:
    envelope = seal(changed((vectors / EXAMPLE).read_bytes()))
    assert reason(lambda: check(envelope, expected(provider(tmp_path)), NOW)) == said


def test_what_is_not_told_is_not_shown_and_what_was_failed_is() -> None:
    space = elmo("")[1:-1]
    instance = (
        "<specifies><learningOpportunityInstance><status>failed</status></learningOpportunityInstance></specifies>"
    )
    text = (
        f'<elmo xmlns="{space}"><learner><bday>1955-02-01Z</bday></learner><report><issuer/>'
        f"<learningOpportunitySpecification><title>Kurs</title>{instance}<hasPart>"
        "<learningOpportunitySpecification/></hasPart></learningOpportunitySpecification></report></elmo>"
    )
    read = results.read(parse(text.encode()))
    assert (read.name, read.birth_date, read.count) == (Name("", ""), BORN, 2)
    (institution,) = read.institutions
    assert [(one.titles, one.depth, one.passed) for one in institution.results] == [
        ({"und": "Kurs"}, 0, False),
        ({}, 1, True),
    ]


@pytest.mark.parametrize("inside", ["", "<learner/>", "<report/>", "<learner/><report/>"])
def test_a_document_about_nobody_or_nothing_is_refused(inside: str) -> None:
    text = f'<elmo xmlns="{elmo("")[1:-1]}">{inside}</elmo>'
    assert reason(lambda: results.read(parse(text.encode()))) == "ELMO_INCOMPLETE"


WHOLE = document(sample_credential(), sample_credential(grade=None))
KEY = certificate(FOREIGN_SCALAR).parsed.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
LISTED = DataProvider(ACRONYM, "SE", "https://emp.example/emrex", KEY)


@settings(max_examples=60)
@given(
    st.integers(0, WHOLE.index(b"<ds:Signature") - 1),
    st.integers(0, 400),
    st.sampled_from([b"", b"<", b"<a/>", b"\xff", b"&x;"]),
)
def test_a_document_that_was_changed_anywhere_is_refused(at: int, length: int, by: bytes) -> None:
    changed = WHOLE[:at] + by + WHOLE[at + length :]
    if changed == WHOLE:
        return
    with pytest.raises(VitneError):
        check(seal(changed), expected(LISTED), NOW)
    with contextlib.suppress(VitneError):
        assert results.read(parse(changed)).count >= 1


# --- What is answered -----------------------------------------------------------------------------


def test_only_what_is_valid_and_here_is_answered_with() -> None:
    good = held()
    bad = [held(number=2, status="revoked"), held(number=3, status="suspended"), held(number=4, pending=True)]
    assert [one for one in (good, *bad) if answerable(one)] == [good]
    assert chosen([good, *bad], [good.handle, good.handle]) == [good]
    for handles, said in (
        ([], "NOTHING_PICKED"),
        (["x" * 43], "CREDENTIAL_NOT_HERS"),
        ([good.handle, bad[0].handle], "CREDENTIAL_NOT_HERS"),
        ([str(number) for number in range(201)], "TOO_MANY_PICKED"),
    ):
        assert reason(lambda handles=handles: chosen([good, *bad], handles)) == said  # type: ignore[misc]


def answered(*credentials: Kept) -> bytes:
    return sign(forest(credentials), FOREIGN_KEY, certificates=[certificate(1003)], salt=SALT, at=NOW)


def test_an_answer_is_one_document_of_one_person_under_the_portal_s_seal(vectors: Path) -> None:
    text = answered(*differing())
    elmo_schema(vectors / "elmo" / "v1.7.0").assertValid(etree.fromstring(text))
    signed = parse_signed(text)
    assert signed.verified_by(FOREIGN_KEY.public_key)
    assert signed.document.generated_at == NOW
    assert NUMBER.encode() not in text
    read = results.read(signed.document)
    assert (read.name, read.birth_date, read.count) == (KARI, BORN, 3)
    assert [institution.names for institution in read.institutions] == [{"da": "Nyt navn"}, {"nb": "Et annet lærested"}]
    assert [institution.originals for institution in read.institutions] == [2, 1]
    result = read.institutions[0].results[0]
    assert (result.credits, result.levels, result.grade) == ((("1.25", "ects"),), (("dk.nqf", "5"),), "12")


def test_each_attachment_is_told_of_once_wherever_it_hangs() -> None:
    def attachment(of: str) -> etree._Element:
        attached = etree.Element(elmo("attachment"))
        etree.SubElement(attached, elmo("content")).text = f"data:{of};base64,eA=="
        return attached

    document = parse(answered(*differing()))
    before = results.read(document)
    (result, *_) = document.root.iter(elmo("learningOpportunitySpecification"))
    result.append(attachment(ORIGINAL_TYPE))
    result.append(attachment("application/pdf"))
    document.root.append(attachment(ORIGINAL_TYPE))  # no institution's own, as far as it says
    after = results.read(document)
    assert [one.originals for one in before.institutions] == [2, 1]
    assert [one.originals for one in after.institutions] == [3, 1]
    assert after.attachments == before.attachments + 2


def originals(text: bytes) -> list[str]:
    prefix = f"data:{ORIGINAL_TYPE};base64,"
    contents = (content.text or "" for content in etree.fromstring(text).iter(elmo("content")))
    return [base64.b64decode(one.removeprefix(prefix)).decode() for one in contents if one.startswith(prefix)]


def test_each_result_carries_its_issuer_s_own_credential_without_her_number() -> None:
    attached = [sd_jwt_vc.parse(one) for one in originals(answered(*differing()))]
    assert [one.credential.learner.family_name for one in attached] == ["Gammelnavn", "Prøvesen", "Prøvesen"]
    for one in attached:
        assert one.sd_jwt.jws.verified_by(PROVIDER_KEY.public_key)
        assert one.credential.learner.id is None
        assert one.credential.grade == "12"


def test_what_is_answered_here_is_received_there(tmp_path: Path) -> None:
    received = check(seal(answered(*differing())), expected(provider(tmp_path)), NOW)
    assert received.match is Match.SAME


def test_a_day_of_birth_is_that_of_the_credentials_else_of_the_number() -> None:
    def born(one: Credential) -> date | None:
        return forest([kept(one, handle="h" * 43)])[0].credential.learner.birth_date

    number = LearnerId("no.national_id", NUMBER)
    assert born(sample_credential(learner=learner(id=number, birth_date=None))) == BORN
    assert born(sample_credential(learner=learner(birth_date=None))) is None


def test_the_fields_of_an_answer_say_nothing_in_a_repr() -> None:
    told = repr(Answer("s" * 32, ReturnCode.OK, elmo="secret"))
    assert "secret" not in told
    assert "s" * 32 not in told
    assert json.dumps(Answer("s" * 32, ReturnCode.OK).fields())


def test_a_key_of_another_curve_can_be_a_provider_s(tmp_path: Path) -> None:
    own = issue(ec.generate_private_key(ec.SECP384R1())).public_bytes(Encoding.PEM).decode()
    assert not provider(tmp_path, pubKey=own).signed_with(certificate(1003))
