"""An institution issues what its student system wrote into a table, and revokes one of it.

    python issue_batch.py RESULTS.csv

Against `make up`, after `. .vitne/up/environment`. Run again with the same file it issues nothing twice.
"""

import asyncio
import sys
from pathlib import Path
from uuid import NAMESPACE_URL, UUID, uuid5

from vitne_api.issuer.v1 import issuer_pb2
from vitne_api.ledger.v1 import ledger_pb2
from vitne_client import Connection, Institution, VitneError, batch_from_csv


async def main(items: list[issuer_pb2.BatchItem], request_id: UUID) -> None:
    issued = []
    async with Institution(Connection.of_environment("PROVIDER")) as institution:
        async for outcome in institution.issue_batch(items, request_id):
            if outcome.credential is not None:
                issued.append(outcome.credential)
                print(f"{outcome.item_id} issued")
            else:
                print(f"{outcome.item_id} {'to be repeated' if outcome.repeat else 'refused'}: {outcome.error.reason}")
        if issued:
            first = issued[0].id
            await institution.revoke(first, ledger_pb2.STATUS_REASON_ISSUED_IN_ERROR, uuid5(request_id, first))
            print("the first one revoked")


if len(sys.argv) != 2:
    sys.exit("python issue_batch.py RESULTS.csv")
try:
    table = Path(sys.argv[1])
    # Named by what is in the file: the same file is the same batch, whenever it is sent.
    asyncio.run(main(batch_from_csv(table), uuid5(NAMESPACE_URL, table.read_text())))
except (OSError, VitneError) as error:
    sys.exit(f"{error}")
