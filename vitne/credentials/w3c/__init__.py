"""The model as W3C's Verifiable Credentials 2.0 and as 1EdTech's Open Badges 3.0, and back without loss.

Documents are the same whatever secures them: Data Integrity (:mod:`vitne.credentials.data_integrity`) or a JWT
(:mod:`vitne.credentials.w3c.vc_jwt`).
"""
