"""Implementations that are not ours verify what the running services sign."""

from __future__ import annotations

import json

from jwcrypto.jwk import JWK
from sd_jwt.verifier import SDJWTVerifier

from vitne.dev.demo import Demo
from vitne_api.registry.v1 import registry_pb2


async def test_the_reference_library_verifies_an_issued_credential(world: Demo) -> None:
    credential = world.issued["klimaregnskaber-1"]
    provider = world.actors.organisation(credential.provider)
    facts = await provider.registry.ListFacts(registry_pb2.ListFactsRequest(subject=credential.provider))
    keys = {fact.key.id: fact.key.public_jwk for fact in facts.facts if fact.HasField("key")}

    def key_of(issuer: str, header: dict[str, str]) -> JWK:
        assert issuer == world.cases.providers["ucl"].message.issuer_uri
        return JWK.from_json(keys[header["kid"]])

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
