"""Verifiable Credential Data Integrity 1.0 (W3C Recommendation, 15 May 2025) and its suites.

Signing and verifying are apart from keys: a suite turns a document and a proof's options into hash data, which a
:class:`~vitne.credentials.jose.Signer` signs, wherever it keeps its key.
"""
