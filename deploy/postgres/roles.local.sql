-- The role of a developer's database. Run once by the image, when the volume is empty.
--
-- One role does everything: it migrates from the machine and from the container alike, and makes the databases of tests.
\getenv app_password APP_DATABASE_PASSWORD

CREATE ROLE auth LOGIN CREATEDB PASSWORD :'app_password';
ALTER DATABASE auth OWNER TO auth;
