"""Cryptography: keys, password hashes and tokens."""
