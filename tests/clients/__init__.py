"""Clients of the service: the Python package that verifies tokens, the JavaScript client, the example front end."""
