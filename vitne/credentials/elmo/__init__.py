"""EMREX ELMO 1.7: results as XML that national portals and EMREX exchange (EUPL-1.2, emrex-eu/elmo-schemas v1.7.0).

One document is about one learner. Each awarding body has one report in it; what was
achieved there is a forest of ``learningOpportunitySpecification``, a whole above its
parts. The whole document is signed with an enveloped XML signature. What ELMO has no
place for is in ``extension`` elements of :data:`vitne.credentials.elmo.names.EXTENSION`,
documented in docs/formats.md, so that the model comes back without loss.
"""
