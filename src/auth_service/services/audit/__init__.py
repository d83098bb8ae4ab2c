"""Audit log of security events: records, login history, SQL statements."""
