"""The authentication service: registration by emailed code, sign-in, sessions, and tokens for other services."""
