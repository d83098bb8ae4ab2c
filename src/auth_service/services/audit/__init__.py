"""Audit log: security events."""
