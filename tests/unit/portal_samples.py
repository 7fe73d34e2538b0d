"""One learner's credentials in every state that there is, for the portal's pages."""

from __future__ import annotations

from datetime import UTC, date, datetime

from services.portal.store import Kept
from tests.unit.credential_samples import HOLDER_KEY, sample_achievement, sample_credential, texts
from tests.unit.test_portal_presentation import kept
from vitne_api.credential.v1 import credential_pb2

#: Says everything that a credential can say, in two languages.
WHOLE = sample_achievement(
    outcomes=[
        credential_pb2.LearningOutcome(
            category="knowledge",
            text=texts(nb="Kjenner avgrensningene i drivhusgassprotokollen", en="Knows the boundaries of the protocol"),
            concepts=["http://data.europa.eu/esco/skill/e4ae1a2c"],
        ),
        credential_pb2.LearningOutcome(category="skills", text=texts(nb="Kan sette opp et klimaregnskap")),
        credential_pb2.LearningOutcome(category="dk.something_new", text=texts(da="Kan noget nyt")),
    ],
    title=texts(nb="Klimaregnskap: scope 1 og 2", en="Climate accounting: scopes 1 and 2"),
    workload=credential_pb2.Workload(unit="ects", points="2.5", hours="70"),
    supervision=credential_pb2.SUPERVISION_WITH_IDENTIFICATION,
    stackability=credential_pb2.STACKABILITY_STACKABLE,
    quality_assurance=credential_pb2.QualityAssurance(
        internal=texts(nb="Ekstern sensor ved hver prøve"), external_body="0184:29634750"
    ),
    creator="0192:971035854",
    deliverer="0192:974760673",
    field="0712",
    part_of="klima",
    prerequisites=texts(nb="Generell studiekompetanse"),
    further_information=texts(nb="Undervises på kveldstid"),
)
RECOGNITION = credential_pb2.Recognition(
    purpose=credential_pb2.RECOGNITION_PURPOSE_EXEMPTION,
    methods=[credential_pb2.RECOGNITION_METHOD_INTERVIEW, credential_pb2.RECOGNITION_METHOD_PORTFOLIO],
    evidence=["VhkMNUBmzZoorVxLPO0ZFsx2GMQWJkvUmugbN9NN7Io"],
    assessor="Fagansvarlig <klima>",
    achievement_id="01930f6e-7a00-7000-8000-00000000c001",
    achievement_version=2,
    outcomes=[0, 1],
    rule="no.recognition",
)
NON_FORMAL = sample_achievement(
    kind="no.kompetanseattest",
    title=texts(nb="Truckfører <T1>"),
    level=None,
    workload=credential_pb2.Workload(hours="12.5"),
)


def handle(name: str) -> str:
    """A handle that says what it is for: 43 characters."""
    return name.ljust(43, "_")


#: By name; each has the handle of its name.
STATES: dict[str, Kept] = {
    "whole": kept(
        sample_credential(
            achievement=WHOLE,
            recognition=RECOGNITION,
            holder=HOLDER_KEY.public_key,
            expires_on=date(2028, 6, 30),
            retention=credential_pb2.RETENTION_CLASS_ARCHIVE,
        ),
        handle=handle("whole"),
    ),
    "revoked": kept(
        sample_credential(achievement=sample_achievement(title=texts(nb="Trukket tilbake"))),
        handle=handle("revoked"),
        status="revoked",
        history=(
            ("valid", datetime(2026, 11, 21, 10, tzinfo=UTC)),
            ("suspended", datetime(2026, 12, 1, 10, tzinfo=UTC)),
            ("revoked", datetime(2027, 1, 15, 10, tzinfo=UTC)),
        ),
    ),
    "expired": kept(
        sample_credential(achievement=NON_FORMAL, awarded_on=date(2024, 5, 2), expires_on=date(2026, 5, 2), grade=None),
        handle=handle("expired"),
        kind=NON_FORMAL.kind,
    ),
    "refetching": kept(
        sample_credential(achievement=sample_achievement(title=texts(nb="Hentes på nytt"))),
        handle=handle("refetching"),
        pending=True,
    ),
    "fetching": kept(handle=handle("fetching"), artefact=None, status=None, pending=True, fetched_at=None),
    "unreadable": kept(handle=handle("unreadable"), artefact=None, unreadable=True),
    "unknown": kept(handle=handle("unknown"), artefact="eyJhbGciOiJub25lIn0.e30.", kind="xx.something_new"),
}
