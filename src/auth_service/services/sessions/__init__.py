"""Sessions: refresh token rotation, the session list, revocation, token introspection."""
