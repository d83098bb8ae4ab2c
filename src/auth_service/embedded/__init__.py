"""Embedded engines (PostgreSQL and Valkey from wheels) and the supervisor of `make run`; never used in production."""
