"""HTTP: parsing, answers, cookies, middleware and metrics."""
