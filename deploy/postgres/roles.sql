-- Database roles for production. The image runs this once, when the volume is empty.
--
-- Least privilege: auth_owner owns the database and migrates it; the service signs in as auth, which can read and write
-- rows but cannot change tables.
\getenv owner_password POSTGRES_PASSWORD
\getenv app_password APP_DATABASE_PASSWORD

CREATE ROLE auth_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE auth LOGIN PASSWORD :'app_password';

ALTER DATABASE auth OWNER TO auth_owner;
REVOKE ALL ON DATABASE auth, postgres, template1 FROM PUBLIC;
GRANT CONNECT ON DATABASE auth TO auth;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO auth;

-- Default privileges on future tables, so that migrations need no grants. The migration of the audit log revokes UPDATE and
-- DELETE, because the service may only append to it (docs/decisions/0012).
ALTER DEFAULT PRIVILEGES FOR ROLE auth_owner IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO auth;
ALTER DEFAULT PRIVILEGES FOR ROLE auth_owner IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO auth;

-- Without a password, the superuser can only sign in on the local socket: docker compose exec postgres psql auth
ALTER ROLE postgres PASSWORD NULL;
