"""Outbox, relay, consumer and follower: how services tell each other what happened (docs/events.md)."""
