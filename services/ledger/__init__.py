"""The ledger: status lists, index leases, and the append-only log with its proofs."""
