"""The append-only Merkle log, as pure functions: hashing, trees, tiles, proofs, signed notes, leaf records.

Storage is apart: whoever keeps the nodes hands in a :class:`~vitne.merkle.tree.NodeReader`.
"""
