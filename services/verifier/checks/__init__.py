"""The checks, one file each: pure functions from a credential and fetched evidence to outcomes.

A check answers; it never raises for what it is given, and never decides the
verdict: :mod:`services.verifier.verdict` derives that from the outcomes alone.
"""
