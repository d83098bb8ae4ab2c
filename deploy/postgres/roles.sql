-- The roles of a new production database. Run once by the image, when the volume is empty.
--
-- auth_owner owns the database and migrates it; auth is the service, which reads and writes rows and changes no tables.
\getenv owner_password POSTGRES_PASSWORD
\getenv app_password APP_DATABASE_PASSWORD

CREATE ROLE auth_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE auth LOGIN PASSWORD :'app_password';

ALTER DATABASE auth OWNER TO auth_owner;
REVOKE ALL ON DATABASE auth, postgres, template1 FROM PUBLIC;
GRANT CONNECT ON DATABASE auth TO auth;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO auth;

-- For whatever the owner will make, so that no migration has to remember to grant. The one that makes the history, to
-- which the service may only add, takes the rest away again (docs/decisions/0012).
ALTER DEFAULT PRIVILEGES FOR ROLE auth_owner IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO auth;
ALTER DEFAULT PRIVILEGES FOR ROLE auth_owner IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO auth;

-- Without a password the superuser signs in on the server's own socket only: docker compose exec postgres psql auth
ALTER ROLE postgres PASSWORD NULL;
