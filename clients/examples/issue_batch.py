"""An institution issues what its student system wrote into a table; where it is asked to, it revokes the first of it.

    python issue_batch.py RESULTS.csv [--then-revoke-first]

Against `make up`, after `. .vitne/up/environment`. Run again, also after lines that were refused are mended, it issues
nothing twice, and says what was done before, and what became of it: a line is known by the batch's name and by its own
number (`item_id`). One that was issued and says something else by now is refused. So two tables of one file name are
one batch: give the second a name of its own (`--batch`). Examples of before named a batch by its content: what they did
not issue of a table is to be sent as a table of its own.
"""

import argparse
import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path
from uuid import NAMESPACE_URL, UUID, uuid5

parser = argparse.ArgumentParser(
    description="Issue each line of a table, once however often this is run.",
    epilog="Exit code: 0 all is issued, 1 some are not, or none could be, 2 wrong usage.",
)
parser.add_argument("results", type=Path, metavar="RESULTS.csv", help="UTF-8, ; between columns, their names first")
parser.add_argument(
    "--batch",
    metavar="NAME",
    help="what the table is called, however often it is sent (the file's name: another table has another)",
)
parser.add_argument("--then-revoke-first", action="store_true", help="revoke the first that was issued: for ever")
asked = parser.parse_args()

try:  # Here, so that the help is to be had without them.
    from vitne_api.credential.v1 import credential_pb2
    from vitne_api.issuer.v1 import issuer_pb2
    from vitne_api.ledger.v1 import ledger_pb2
    from vitne_client import Connection, Institution, VitneError, batch_from_csv
except ModuleNotFoundError as error:
    sys.exit(
        f"{error}: install the client package, or, in its repository: PYTHONPATH=.:clients/python .venv/bin/python …"
    )


#: What is added of a credential that does not count as it did.
SINCE = {credential_pb2.STATUS_REVOKED: ", revoked since", credential_pb2.STATUS_SUSPENDED: ", suspended since"}


async def main(items: list[issuer_pb2.BatchItem], request_id: UUID) -> int:
    """Issue the items; answers how many were not issued."""
    began = datetime.now(UTC).replace(microsecond=0)
    issued = []

    def when(instant) -> str:
        """Since when, where that was before: who repeats a request is answered what was answered first."""
        known = instant.ToDatetime(UTC)
        return f" already at {known:%Y-%m-%dT%H:%M:%SZ}" if known < began else ""

    async with Institution(Connection.of_environment("PROVIDER")) as institution:
        async for outcome in institution.issue_batch(items, request_id):
            if (credential := outcome.credential) is not None:
                issued.append(outcome)
                print(f"{outcome.item_id} issued{when(credential.issued_at)}{SINCE.get(credential.status, '')}")
            else:
                # With the field, the rule and the remedy, where there are some.
                print(f"{outcome.item_id} {'to be repeated' if outcome.repeat else 'refused'}: {outcome.error}")
                if outcome.error is not None and outcome.error.reason == "REQUEST_ID_REUSED":
                    print(f"  of a batch that is called {batch}; if this is another table, name it: --batch NAME")
        if issued and asked.then_revoke_first:
            first = issued[0].credential.id
            change = await institution.revoke(first, ledger_pb2.STATUS_REASON_ISSUED_IN_ERROR, uuid5(request_id, first))
            print(f"{issued[0].item_id} revoked{when(change.recorded)}")
    return len(items) - len(issued)


try:
    items = batch_from_csv(asked.results)
    # Not by what is in the file: mended, it is the same batch, and what was issued of it is not issued again.
    batch = asked.batch or asked.results.name
    name = uuid5(NAMESPACE_URL, f"batch:{batch}")
except OSError as error:
    parser.error(f"{asked.results} can't be read: {error.strerror}")
except VitneError as error:
    sys.exit(f"{asked.results}: {error}")
if not items:
    print(f"{asked.results} has no line but that of its columns: nothing is issued")
    sys.exit()
try:
    left = asyncio.run(main(items, name))
except (OSError, ValueError, VitneError) as error:
    sys.exit(f"{error}")
if left:
    sys.exit(f"{left} not issued")
