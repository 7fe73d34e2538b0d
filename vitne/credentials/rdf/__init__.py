"""RDF datasets as far as signing needs them: N-Quads and their canonical form (RDFC-1.0).

A term is held as its canonical N-Quads text (``<iri>``, ``_:b0``, ``"text"@en``), so that a quad's line, which is what
is hashed and sorted, is made by joining.
"""
