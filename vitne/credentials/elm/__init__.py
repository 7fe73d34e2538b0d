"""European Learning Model 3.2 as European Digital Credentials carry it (EUPL-1.2, European-Learning-Model).

JSON-LD in the shape of VCDM 1.1 with the EU's controlled vocabularies, sealed with JAdES
as the Commission's own sealed samples are: the credential is the attached payload, not
encoded (``b64: false``). What the model has and ELM lacks is in one member of our own,
``vitne``, whose context is inline, documented in docs/formats.md.
"""
