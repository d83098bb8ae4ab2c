"""The authentication service: registers people by a mailed code and says who they are."""
