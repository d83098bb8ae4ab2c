-- Database roles for production, and their rights in the current database. The image runs this once, when the volume is
-- empty; a restored backup needs it too (docs/backup.md), so it can be repeated. It also sets the passwords.
--
-- Least privilege: auth_owner owns the database and migrates it; the service signs in as auth, which can read and write
-- rows but cannot change tables.
\getenv owner_password POSTGRES_PASSWORD
\getenv app_password APP_DATABASE_PASSWORD

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'auth_owner') THEN CREATE ROLE auth_owner; END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'auth') THEN CREATE ROLE auth; END IF;
END $$;
ALTER ROLE auth_owner LOGIN PASSWORD :'owner_password';
ALTER ROLE auth LOGIN PASSWORD :'app_password';

ALTER DATABASE :"DBNAME" OWNER TO auth_owner;
REVOKE ALL ON DATABASE :"DBNAME", postgres, template1 FROM PUBLIC;
GRANT CONNECT ON DATABASE :"DBNAME" TO auth;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO auth;

-- Default privileges on future tables, so that migrations need no grants. The migration of the audit log revokes UPDATE and
-- DELETE, because the service may only append to it (docs/decisions/0012).
ALTER DEFAULT PRIVILEGES FOR ROLE auth_owner IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO auth;
ALTER DEFAULT PRIVILEGES FOR ROLE auth_owner IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO auth;
