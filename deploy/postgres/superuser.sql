-- Without a password, the superuser can only sign in on the local socket: docker compose exec postgres psql auth
-- The image runs this once, when the volume is empty, after roles.sql.
ALTER ROLE postgres PASSWORD NULL;
