"""A program for the tests of the nursery."""
