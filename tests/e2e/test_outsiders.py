"""Implementations that are not ours verify what the running services sign."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import pytest
from cryptography import x509
from jwcrypto.jwk import JWK
from jwcrypto.jwt import JWT
from sd_jwt.verifier import SDJWTVerifier

from vitne.dev.demo import Demo, new_id, until
from vitne.dev.stack import STATUS_BASE, Stack
from vitne_api.credential.v1 import credential_pb2
from vitne_api.issuer.v1 import issuer_pb2
from vitne_api.ledger.v1 import ledger_pb2
from vitne_api.registry.v1 import registry_pb2


async def test_the_reference_library_verifies_an_issued_credential(world: Demo) -> None:
    credential = world.issued["klimaregnskaber-1"]
    provider = world.actors.organisation(credential.provider)
    facts = await provider.registry.ListFacts(registry_pb2.ListFactsRequest(subject=credential.provider))
    keys = {fact.key.id: fact.key.public_jwk for fact in facts.facts if fact.HasField("key")}

    def key_of(issuer: str, header: dict[str, Any]) -> JWK:
        assert issuer == world.cases.providers["ucl"].message.issuer_uri
        key = JWK.from_json(keys[header["kid"]])
        # What a wallet that goes by certificates sees: the same key, for this issuer.
        (certificate,) = (x509.load_der_x509_certificate(base64.b64decode(each)) for each in header["x5c"])
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.UniformResourceIdentifier) == [issuer]
        assert JWK.from_pyca(certificate.public_key()).thumbprint() == key.thumbprint()
        return key

    claims = SDJWTVerifier(credential.artefact, key_of).get_verified_payload()
    assert claims["vct"] == "https://vitne.example/credentials/micro-credential/v1"
    assert claims["status"]["status_list"] == {
        "idx": credential.status_reference.index,
        "uri": credential.status_reference.list,
    }
    # With all disclosures the learner is named; what is signed alone names nobody.
    assert world.learner.family_name in json.dumps(claims, ensure_ascii=False)
    bare = SDJWTVerifier(credential.artefact.split("~")[0] + "~", key_of).get_verified_payload()
    assert world.learner.family_name not in json.dumps(bare, ensure_ascii=False)
    assert world.learner.value not in json.dumps(bare)


@pytest.mark.changes_something
async def test_a_badge_names_lists_that_are_published_and_say_its_status(world: Demo, stack: Stack) -> None:
    """From ``credentialStatus`` alone, as any reader of badges goes about it (Bitstring Status List, section 3.2)."""
    case = world.cases.achievements["minikvalifikasjon"]
    institution = world.actors.organisation(case.message.provider)
    credential = await world.issue_when_known(world.others[6], case)
    asked = issuer_pb2.GetCredentialRequest(credential_id=credential.id, formats=[credential_pb2.FORMAT_OPEN_BADGE])
    (artefact,) = (await institution.issuer.GetCredential(asked)).credential.artefacts
    badge = json.loads(artefact.artefact)
    entries = {entry["statusPurpose"]: entry for entry in badge["credentialStatus"]}
    assert set(entries) == {"revocation", "suspension"}
    keys = [JWK(**key.public_jwk) for key in await stack.service_keys()]

    async def told() -> dict[str, bool]:
        return {purpose: await bit_of(stack, entry, keys) for purpose, entry in entries.items()}

    assert await told() == {"revocation": False, "suspension": False}
    for change, reason, wanted in (
        (ledger_pb2.STATUS_CHANGE_SUSPEND, ledger_pb2.STATUS_REASON_UNDER_REVIEW, {"suspension"}),
        (ledger_pb2.STATUS_CHANGE_REVOKE, ledger_pb2.STATUS_REASON_ISSUED_IN_ERROR, {"revocation", "suspension"}),
    ):
        await institution.issuer.ChangeStatus(
            issuer_pb2.ChangeStatusRequest(
                request_id=new_id(), credential_id=credential.id, change=change, reason=reason
            )
        )

        async def published(wanted: set[str] = wanted) -> bool:
            return await told() == {purpose: purpose in wanted for purpose in entries}

        await until(published, f"{change} in the lists that the badge names", world.narrator)


async def bit_of(stack: Stack, entry: dict[str, Any], keys: list[JWK]) -> bool:
    """The bit of an entry, in a list that the operator signed; nothing here is our own reader."""
    address = entry["statusListCredential"]
    assert address.startswith(STATUS_BASE)
    async with stack.session() as session:
        served_at = address.replace(STATUS_BASE, f"{stack.http_url('ledger')}/", 1)
        async with session.get(served_at) as response:
            assert (response.status, response.content_type) == (200, "application/vc+jwt")
            token = JWT(jwt=await response.text(), expected_type="JWS", check_claims={})
    header = json.loads(token.token.objects["protected"])
    token.validate(next(key for key in keys if key.thumbprint() == header["kid"]))
    listed = json.loads(token.claims)
    assert (listed["id"], listed["type"][-1]) == (address, "BitstringStatusListCredential")
    subject = listed["credentialSubject"]
    assert subject["statusPurpose"] == entry["statusPurpose"]
    encoded = subject["encodedList"].removeprefix("u")
    bits = gzip.decompress(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    byte, bit = divmod(int(entry["statusListIndex"]), 8)
    return bool(bits[byte] << bit & 0x80)
