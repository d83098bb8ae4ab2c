"""Flows: what a client does in one or several requests, from registration to account deletion."""
