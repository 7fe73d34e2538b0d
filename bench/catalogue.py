"""The benchmarks by name: unit, what is done, what is to be reached.

Names never change, so that runs can be compared over months. A row that has no
implementation yet is left out of a run, and the run says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: Units of the results.
RATE: Final = "ops/s"
EVENTS: Final = "events/s"
SECONDS: Final = "s"
MILLISECONDS: Final = "ms"
MEBIBYTES: Final = "MiB"

#: The benchmark that every rate is held against: what a gRPC call costs that does nothing.
BASELINE: Final = "rpc.noop.c16"
#: What a service may take after the benchmarks, in MiB.
MEMORY_BOUND: Final = 200.0


@dataclass(frozen=True, slots=True)
class Row:
    """One benchmark.

    Attributes:
        name: for ever.
        unit: of its value.
        what: is done, in a few words.
        first: to be reached first; None where nothing is set.
        end: to be reached by the finished system; likewise.
    """

    name: str
    unit: str
    what: str
    first: float | None = None
    end: float | None = None

    @property
    def rises(self) -> bool:
        """Whether more is better."""
        return self.unit in (RATE, EVENTS)

    def reaches(self, value: float, target: float) -> bool:
        """Whether a value is as good as a target."""
        return value >= target if self.rises else value <= target


ROWS: Final = (
    Row(BASELINE, RATE, "gRPC method that does nothing, in a process of its own: the baseline"),
    Row("issue.unary.c16", RATE, "`Issue`, SD-JWT VC, durable, 16 at a time", 500, 1500),
    Row("issue.unary.c64", RATE, "`Issue`, SD-JWT VC, durable, 64 at a time", 700, 2000),
    Row("issue.batch", RATE, "`IssueBatch`, durable, 4 streams of 500 items", 2000, 6000),
    Row("issue.ob3.c16", RATE, "`Issue`, Open Badges 3.0 eddsa-rdfc-2022, durable, 16 at a time", None, 1200),
    Row("verify.http", RATE, "`POST /v1/verify`, warm caches, status checked, 2 workers", 1000, 4000),
    Row("revoke.c16", RATE, "`SetStatus`, durable, 16 at a time", 500, 1500),
    Row("revoke.to_published.p99", SECONDS, "commit → the signed list served over HTTP says so, 500 a second", 1, 0.5),
    Row("revoke.to_published.forms.p99", SECONDS, "the same, until JWT, CWT and both W3C lists say so", None, 1),
    Row("revoke.bulk", RATE, "50,000 revoked over one stream of `SetStatuses`, durable", None, 1500),
    Row("revoke.bulk.to_published.p99", SECONDS, "the same: commit → the signed list says so", None, 1),
    Row("revoke.bulk.to_published.forms.p99", SECONDS, "the same, until all four forms say so", None, 1),
    Row("issue.to_portal.p99", SECONDS, "commit → row in the portal, 200/s, Apache Kafka", 0.5, 0.1),
    Row("issue.to_portal.p99.embedded", SECONDS, "the same on the embedded broker"),
    Row("issue.batch.to_portal.p99", SECONDS, "the same in batches of 50, 500/s, Apache Kafka", None, 0.5),
    Row("issue.batch.to_portal.p99.embedded", SECONDS, "the same on the embedded broker"),
    Row("decide.inprocess", RATE, "`Decide` with explanation, in process", None, 50_000),
    Row(
        "registry.projection.load",
        SECONDS,
        "5,000 providers, 50,000 facts with cases, 200,000 achievements",
        None,
        30,
    ),
    Row("stack.evaluate", MILLISECONDS, "200 credentials × 1,000 qualifications", None, 50),
    Row("format.sdjwt.issue", RATE, "prepare and sign an SD-JWT VC, one core, in process", None, 8000),
    Row("format.sdjwt.verify", RATE, "parse an SD-JWT VC and verify it, one core, in process", None, 6000),
    Row("format.jcs.issue", RATE, "eddsa-jcs-2022, small badge", None, 7000),
    Row("format.ob3.issue", RATE, "eddsa-rdfc-2022, small badge", None, 6000),
    Row("format.ob3.verify", RATE, "eddsa-rdfc-2022, small badge", None, 4000),
    Row("format.ob3.whole.issue", RATE, "eddsa-rdfc-2022, a badge as the issuer makes it (some 90 quads)"),
    Row("format.ob3.whole.verify", RATE, "the same read as the verifier reads it, and verified"),
    Row("format.rdfc.356", RATE, "RDFC-1.0, 350 quads, blank nodes all different", None, 700),
    Row("format.rdfc.356.tied", RATE, "the same, some blank nodes alike", None, 250),
    Row("format.elmo.sign", RATE, "write ELMO and sign it, one core, in process", None, 500),
    Row("format.edc.seal", RATE, "write an EDC and seal it, one core, in process", None, 1000),
    Row("log.append", RATE, "leaves queued in groups and integrated within 1 s, durable", None, 20_000),
    Row("log.append.bulk", RATE, "a million queued leaves integrated, durable", None, 50_000),
    Row("log.proof.1e6", RATE, "inclusion proofs at a million leaves, in process", None, 20_000),
    Row("log.restart.1e6", SECONDS, "the ledger from process start to ready, a million leaves", None, 1),
    Row("list.build.131072", MILLISECONDS, "set, compress and sign a list of 131,072 places", None, 1),
    Row("list.build.1e6", MILLISECONDS, "set, compress and sign a list of a million places", None, 5),
    Row("list.get", RATE, "a signed list over HTTP, from memory", None, 5000),
    Row("portal.page", MILLISECONDS, "a learner's page with 60 credentials, p50", None, 50),
    Row("portal.page.rps", RATE, "the same page, 8 at a time, from a portal that has one core", None, 100),
    Row("portal.share.p99", SECONDS, "make a shared link, or its signed PDF", None, 1),
    Row("portal.share.read", RATE, "a shared page, with what the verifier says of it", None, 200),
    Row("portal.catchup", EVENTS, "a portal's events applied from nothing", None, 3500),
    Row("portal.catchup.fetched", EVENTS, "the same with all that they name fetched", None, 3334),
    Row("portal.catchup.apache", EVENTS, "events applied from nothing, Apache Kafka", None, 3500),
    Row("portal.catchup.fetched.apache", EVENTS, "the same with all that they name fetched, Apache Kafka", None, 3334),
    *(
        Row(f"rss.{service}", MEBIBYTES, f"memory of the {service} after the benchmarks", MEMORY_BOUND, MEMORY_BOUND)
        for service in ("registry", "issuer", "ledger", "verifier", "portal")
    ),
)

#: The same by name.
BY_NAME: Final = {row.name: row for row in ROWS}
