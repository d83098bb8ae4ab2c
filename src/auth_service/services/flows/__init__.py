"""Flows of one or several requests: registration, sign-in, password reset, email change, account revert, deletion."""
