"""Credentials: passwords and one-time codes."""
