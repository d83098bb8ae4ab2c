"""Application factory: `create_app` builds the Flask application from settings."""

from flask import Flask
from flask_migrate import Migrate
from werkzeug.routing import BaseConverter

from auth_service import logs
from auth_service.adapters.circuit_breaker import CircuitBreaker
from auth_service.adapters.postgres import connections as postgres
from auth_service.api import v1
from auth_service.api.contract.openapi import Deployment
from auth_service.api.http import middleware
from auth_service.api.http.parsing import INTEGER, LARGEST_BODY, ROLE_NAME
from auth_service.api.ops.discovery import discovery
from auth_service.api.ops.health import health
from auth_service.api.ops.jwks import well_known
from auth_service.api.ops.passkey_discovery import passkey_discovery
from auth_service.api.pages import dev_inbox, start, swagger
from auth_service.api.pages.account_revert import account_revert_page
from auth_service.api.pages.invitation import invitation_page
from auth_service.api.pages.second_factor_reset import second_factor_reset_page
from auth_service.db import db
from auth_service.db.schema_version import MIGRATIONS
from auth_service.settings import Settings
from auth_service.wiring import database_connections, wire


class UserIdConverter(BaseConverter):
    """URL converter of user ids. An id with too many digits becomes 0, which no user has: 404, not a server error."""

    regex = INTEGER
    part_isolating = True
    max_digits = 16

    def to_python(self, value: str) -> int:
        """Return the id, or 0."""
        return int(value) if len(value) <= self.max_digits else 0


class RoleNameConverter(BaseConverter):
    """URL converter of role names: upper case, so that `/roles/check_permissions` is no role."""

    regex = "[A-Z][A-Z0-9_]{0,255}"
    part_isolating = True


def create_app(settings: Settings) -> Flask:
    """Build the application from complete settings. Opens no connection to PostgreSQL or Redis."""
    logs.configure(level=settings.log_level)
    app = Flask(__name__, static_folder=None, template_folder="api/pages/templates")
    app.config.update(
        SQLALCHEMY_DATABASE_URI=settings.database_url,
        SQLALCHEMY_ENGINE_OPTIONS=postgres.engine_options(
            str(settings.database_url), connections=database_connections(settings)
        ),
        MAX_CONTENT_LENGTH=LARGEST_BODY + 1,
        PROVIDE_AUTOMATIC_OPTIONS=False,
        RESTX_ERROR_404_HELP=False,
        PROPAGATE_EXCEPTIONS=False,
    )
    app.url_map.converters |= {"user_id": UserIdConverter, ROLE_NAME: RoleNameConverter}
    # No redirects to a normalised path: they are responses without a contract, with an HTML body.
    app.url_map.merge_slashes = False
    app.url_map.redirect_defaults = False

    db.init_app(app)
    Migrate(app, db, directory=str(MIGRATIONS))
    with app.app_context():
        postgres.PoolGuard(breaker=CircuitBreaker(open_for=postgres.OPEN_FOR)).watch(db.engine)
    services = app.extensions["auth_service"] = wire(settings)

    middleware.register(app, settings)
    app.register_blueprint(v1.blueprint())
    if settings.swagger_page:
        app.register_blueprint(swagger.blueprint(v1.openapi_document(Deployment.of(settings))))
    app.register_blueprint(health)
    app.register_blueprint(well_known)
    app.register_blueprint(discovery)
    app.register_blueprint(passkey_discovery)
    app.register_blueprint(account_revert_page)
    app.register_blueprint(invitation_page)
    app.register_blueprint(second_factor_reset_page)
    if settings.app_env == "local" and settings.swagger_page:
        app.register_blueprint(start.blueprint())
    if services.inbox:
        app.register_blueprint(dev_inbox.blueprint(services.inbox, beyond_loopback=settings.listen_beyond_loopback))
    return app
