"""An institution issues what its student system wrote into a table; where it is asked to, it revokes the first of it.

    python issue_batch.py RESULTS.csv [--then-revoke-first]

Against `make up`, after `. .vitne/up/environment`. Run again with the same file it issues nothing twice.
"""

import argparse
import asyncio
import sys
from pathlib import Path
from uuid import NAMESPACE_URL, UUID, uuid5

parser = argparse.ArgumentParser(
    description="Issue each line of a table, once however often this is run.",
    epilog="Exit code: 0 all is issued, 1 some are not, or none could be, 2 wrong usage.",
)
parser.add_argument("results", type=Path, metavar="RESULTS.csv", help="UTF-8, ; between columns, their names first")
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


async def main(items: list[issuer_pb2.BatchItem], request_id: UUID) -> int:
    """Issue the items; answers how many were not issued."""
    issued = []
    async with Institution(Connection.of_environment("PROVIDER")) as institution:
        async for outcome in institution.issue_batch(items, request_id):
            if outcome.credential is not None:
                issued.append(outcome.credential)
                # What was issued before is answered as it was then, with its status of now.
                status = credential_pb2.Status.Name(outcome.credential.status).removeprefix("STATUS_").lower()
                print(f"{outcome.item_id} issued" + ("" if status == "valid" else f", {status} since"))
            else:
                # With the field, the rule and the remedy, where there are some.
                print(f"{outcome.item_id} {'to be repeated' if outcome.repeat else 'refused'}: {outcome.error}")
        if issued and asked.then_revoke_first:
            first = issued[0]
            if first.status == credential_pb2.STATUS_REVOKED:
                print("the first one was revoked before")
            else:
                key = uuid5(request_id, first.id)
                await institution.revoke(first.id, ledger_pb2.STATUS_REASON_ISSUED_IN_ERROR, key)
                print("the first one revoked")
    return len(items) - len(issued)


try:
    # Named by what is in the file: the same file is the same batch, whenever it is sent.
    left = asyncio.run(main(batch_from_csv(asked.results), uuid5(NAMESPACE_URL, asked.results.read_text("utf-8"))))
except (OSError, ValueError, VitneError) as error:
    sys.exit(f"{error}")
if left:
    sys.exit(f"{left} not issued")
