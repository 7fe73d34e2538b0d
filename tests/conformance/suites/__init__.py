"""A file for each suite of official test data, with one ``SUITE`` in it."""
