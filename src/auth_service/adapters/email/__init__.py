"""Email transports: SMTP, and the interface that the mail worker sends through."""
