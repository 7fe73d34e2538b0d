"""The credential model and its formats: pure functions over bytes, keys and time.

Nothing here reads a clock, draws randomness, or does I/O: instants, salts and
signers are arguments.
"""
