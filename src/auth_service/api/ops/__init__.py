"""Endpoints for operators: health and public keys."""
