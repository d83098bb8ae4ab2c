"""Email transports."""
