"""create_app: settings in, a wired Flask application out."""

from flask import Flask
from flask_migrate import Migrate
from werkzeug.routing import BaseConverter

from auth_service import logs
from auth_service.adapters.circuit_breaker import CircuitBreaker
from auth_service.adapters.postgres import connections as postgres
from auth_service.api import v1
from auth_service.api.http import middleware
from auth_service.api.http.parsing import INTEGER, LARGEST_BODY
from auth_service.api.ops.health import health
from auth_service.api.ops.jwks import well_known
from auth_service.api.pages import dev_inbox
from auth_service.api.pages.account_revert import undo_page
from auth_service.db import db
from auth_service.db.schema_version import MIGRATIONS
from auth_service.settings import Settings
from auth_service.wiring import database_connections, wire


class UserIdConverter(BaseConverter):
    """A user id in a path. One that nobody can have is 0, so that it is unknown and not an error."""

    regex = INTEGER
    part_isolating = True
    longest = 16

    def to_python(self, value: str) -> int:
        """The id."""
        return int(value) if len(value) <= self.longest else 0


def create_app(settings: Settings) -> Flask:
    """Make the application for complete settings. Opens no connection."""
    logs.configure(level=settings.log_level)
    app = Flask(__name__, static_folder=None, template_folder="api/pages/templates")
    app.config.update(
        SQLALCHEMY_DATABASE_URI=settings.database_url,
        SQLALCHEMY_ENGINE_OPTIONS=postgres.engine_options(connections=database_connections(settings)),
        MAX_CONTENT_LENGTH=LARGEST_BODY + 1,
        PROVIDE_AUTOMATIC_OPTIONS=False,
        RESTX_INCLUDE_ALL_MODELS=True,
        RESTX_MASK_SWAGGER=False,
        RESTX_ERROR_404_HELP=False,
        PROPAGATE_EXCEPTIONS=False,
    )
    app.json.sort_keys = False  # type: ignore[attr-defined] # the Swagger page shows the requests in their order
    app.url_map.converters["user_id"] = UserIdConverter
    # A redirect to a cleaner path would be an answer outside the contract, and a second name for one thing.
    app.url_map.merge_slashes = False
    app.url_map.redirect_defaults = False

    db.init_app(app)
    Migrate(app, db, directory=str(MIGRATIONS))
    with app.app_context():
        postgres.PoolGuard(breaker=CircuitBreaker(rest=postgres.REST)).watch(db.engine)
    wired = app.extensions["auth_service"] = wire(settings)

    middleware.surround(app, settings)
    app.register_blueprint(v1.blueprint(settings))
    app.register_blueprint(health)
    app.register_blueprint(well_known)
    app.register_blueprint(undo_page)
    if wired.inbox:
        app.register_blueprint(dev_inbox.blueprint(wired.inbox, beyond_loopback=settings.listen_beyond_loopback))
    return app
