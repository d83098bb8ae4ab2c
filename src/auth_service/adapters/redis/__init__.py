"""Redis: rate limits, login throttling and one-time codes."""
