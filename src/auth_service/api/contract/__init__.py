"""Endpoint contracts: what a view declares, how a request is answered, and the Swagger document."""
