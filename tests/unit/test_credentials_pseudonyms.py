from __future__ import annotations

import pytest

from vitne.credentials.artefact import sd_jwt_digest
from vitne.credentials.pseudonyms import handle, learner_index, pseudonym
from vitne.identifiers import LearnerId

SECRET = bytes(range(32))
HUB = "0192:919477822"
CREDENTIAL = "01930f6e-7a00-7000-8000-00000000e001"


def test_the_worked_values() -> None:
    assert pseudonym(SECRET, HUB) == "-c-IUoHAZEl23ATtghyOxtHKFCia6e-e_gcSMk-FoTk"
    assert handle(SECRET, HUB, CREDENTIAL) == "HkKRvnGZIndUFrvOE7u8E1r-qBMc4P0AjzJMVG_ksws"


def test_hubs_cannot_link_and_secrets_have_a_length() -> None:
    assert pseudonym(SECRET, HUB) != pseudonym(SECRET, "0192:971035854")
    with pytest.raises(ValueError, match="32 bytes"):
        pseudonym(b"short", HUB)


def test_the_learner_index_separates_scheme_and_value() -> None:
    one = learner_index(SECRET, LearnerId("provider.local_id", "x1"))
    assert len(one) == 32
    assert one != learner_index(SECRET, LearnerId("provider.local_id", "x2"))
    assert one != learner_index(bytes(32), LearnerId("provider.local_id", "x1"))


def test_the_artefact_digest_of_the_records_and_of_any_presentation() -> None:
    jwt = "eyJhbGciOiJFUzI1NiIsInR5cCI6ImRjK3NkLWp3dCJ9.eyJpc3MiOiJodHRwczovL2V4YW1wbGUifQ.c2lnbmF0dXJl"
    assert sd_jwt_digest(jwt) == "TFV8xGOHcleNF8JqBg7VniZmNJ3SuIM8ZIa7mDFraVI"
    assert sd_jwt_digest(f"{jwt}~disclosure~key.binding.jwt") == sd_jwt_digest(jwt)
