"""Adapters: PostgreSQL connections, Redis, SMTP, cryptography, request threads."""
