"""Plumbing of every service: settings, servers, interceptors, channels, database, telemetry, shutdown."""
