"""The auditor: looks whether issuer, log, lists, topics and portals say the same."""
