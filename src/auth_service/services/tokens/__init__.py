"""Signing keys of access tokens, and service keys."""
