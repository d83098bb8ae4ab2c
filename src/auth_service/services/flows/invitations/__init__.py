"""Invitations: send them, list, revoke, and redeem their links."""
