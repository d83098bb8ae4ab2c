"""Floors of the benchmark: a bare Flask view, and the same view with one indexed SELECT.

As fast as Flask and SQLAlchemy Core allow: the statement is built once, connections are in autocommit mode, and there
is no validation, rate limit or log.
"""

import json
import os

import psycopg2.extensions
from flask import Flask, Response, request
from sqlalchemy import bindparam, column, create_engine, select, table

# The floor does not use the wait callback of the service, which an import could have set.
psycopg2.extensions.set_wait_callback(None)

engine = create_engine(
    os.environ["DATABASE_URL"],
    isolation_level="AUTOCOMMIT",
    pool_size=int(os.environ["WEB_THREADS"]) + 1,
    max_overflow=0,
)
users = table("users", column("id"), column("email"), column("email_key"), column("verified_mail"))
by_key = select(users.c.id, users.c.email, users.c.verified_mail).where(users.c.email_key == bindparam("key"))

app = Flask(__name__, static_folder=None)


@app.get("/json")
def small_json() -> Response:
    return _user_response(1, request.args["email"], verified=True)


@app.get("/select")
def one_select() -> Response:
    with engine.connect() as connection:
        row = connection.execute(by_key, {"key": request.args["email"]}).one()
    return _user_response(row.id, row.email, verified=row.verified_mail)


def _user_response(identity: int, email: str, *, verified: bool) -> Response:
    data = {"id": identity, "email": email, "roles": ["ROLE_PORTAL_USER"], "verified_mail": verified}
    return Response(json.dumps({"success": True, "data": data}), content_type="application/json")
