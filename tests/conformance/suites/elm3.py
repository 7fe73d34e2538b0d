"""European Learning Model 3.2: the EDC shapes over what we write, and the Commission's own sealed sample."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import rdflib

from tests.conformance.frame import Case, Suite, expect_equal, expect_refusal
from tests.unit.credential_samples import sample_credential
from tests.unit.european_samples import SALT, SETTING, full_credential
from tests.unit.european_schemas import PROFILES, edc_shapes, violations
from vitne.credentials.elm.document import write
from vitne.credentials.elm.reading import read
from vitne.credentials.elm.seal import parse
from vitne.credentials.model import Credential, Learner
from vitne.credentials.setting import ALONE, Setting

SEALED = "Sample-CertOfPart-signed.jsonld"
LEAST = sample_credential(grade=None, learner=Learner(given_name="Kari", family_name="Prøvesen"))
#: What is written and held against the shapes of a profile.
WRITTEN: tuple[tuple[str, Credential, Setting], ...] = (
    ("generic", full_credential(), ALONE),
    ("generic", LEAST, ALONE),
    ("accredited", full_credential(), SETTING),
)


def cases(folder: Path) -> Iterator[Case]:
    shapes = {profile: edc_shapes(folder, profile) for profile in PROFILES}
    for number, (profile, credential, setting) in enumerate(WRITTEN, 1):
        case = partial(conforms, folder.parent, shapes[profile], credential, setting)
        yield Case(f"{profile} {number} conforms, and comes back", case)
    sealed = (folder / "samples" / SEALED).read_text("utf-8")
    yield Case(f"{SEALED} verifies", lambda: expect_equal(parse(sealed).verified(), True))
    changed = sealed.replace("Andromeda", "Cassiopeia")
    yield Case(f"{SEALED} with another name does not", lambda: expect_equal(parse(changed).verified(), False))
    yield Case(f"{SEALED} is no credential of ours", lambda: expect_refusal(parse(sealed).credential))
    for name in ("Sample-CertOfPart-unsigned.jsonld", "Sample-CertOfPart-unsigned-uploadable.json"):
        text = (folder / "samples" / name).read_text("utf-8")
        yield Case(f"{name} is not sealed", partial(expect_refusal, partial(parse, text)))


def conforms(vectors: Path, shapes: rdflib.Graph, credential: Credential, setting: Setting) -> None:
    document: dict[str, Any] = json.loads(json.dumps(write(credential, setting, salt=SALT)))
    with warnings.catch_warnings():
        # rdflib's own reader of JSON-LD uses what rdflib deprecates.
        warnings.simplefilter("ignore", DeprecationWarning)
        expect_equal(violations(vectors, document, shapes), [])
    expect_equal(read(document), credential)


SUITE = Suite("elm3", "ELM 3.2: EDC shapes, generic and accredited, and JAdES seals", cases)
