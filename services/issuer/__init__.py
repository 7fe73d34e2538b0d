"""The issuer: decides, issues and signs credentials, keeps learners' data encrypted, serves hubs."""
