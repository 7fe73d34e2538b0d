"""JSON-LD 1.1 as far as signing needs it: a document under pinned contexts, as RDF.

Contexts are never fetched. Those that are known are term tables in ``data/``, made by ``tools.contexts``; a document
may add terms of its own. What JSON-LD would silently drop (a term that nothing defines, a relative identifier, a
direction) is refused by name, since what is dropped isn't signed.
"""
