"""Authentication, CSRF check, session cookies and rate limits of requests."""
