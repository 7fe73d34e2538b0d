"""The embedded stack: a real PostgreSQL, a broker that speaks Kafka's protocol, and the processes of a demo."""
