"""Authorization services: roles, permissions, administrators."""
