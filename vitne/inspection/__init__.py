"""Looks into a running installation, as an operator's tool would: databases, topics, what is published."""
