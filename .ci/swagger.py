"""Fail unless the validator of flask-restx accepts /api/swagger.json; also write the document to the named files."""

import json
import sys
from pathlib import Path

from flask_restx.schemas import validate

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from auth_service.app import create_app
from auth_service.settings import Settings

settings = Settings.read(env_file=None, app_env="test").completed(
    database_url="postgresql+psycopg2://nobody@127.0.0.1/nothing", redis_url="redis://127.0.0.1/0"
)
document = create_app(settings).test_client().get("/api/swagger.json").json
validate(document)
for name in sys.argv[1:]:
    Path(name).write_text(json.dumps(document, indent=2) + "\n", "utf-8")
