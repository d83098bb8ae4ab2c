"""The floor that touches the outside: PostgreSQL's wire, Redis, SMTP, cryptography, embedded engines."""
