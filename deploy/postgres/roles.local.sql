-- Database role for development. The image runs this once, when the volume is empty.
--
-- One role does everything: it runs migrations on the host and in the container, and creates the databases of tests.
\getenv app_password APP_DATABASE_PASSWORD

CREATE ROLE auth LOGIN CREATEDB PASSWORD :'app_password';
ALTER DATABASE auth OWNER TO auth;
