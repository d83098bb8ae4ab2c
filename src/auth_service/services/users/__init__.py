"""Users: records, recipients of emails, security notifications, and the import from another system."""
