"""HTTP: parsing, responses, cookies, middleware and metrics."""
