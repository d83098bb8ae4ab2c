"""The floor that the service is measured against: a bare Flask view, and the same view with one indexed SELECT.

Written to be as fast as Flask and SQLAlchemy Core let it be: the statement is made once, connections live in
autocommit, and nothing is checked, counted, limited or logged.
"""

import json
import os

import psycopg2.extensions
from flask import Flask, Response, request
from sqlalchemy import bindparam, column, create_engine, select, table

# Should anything imported here have brought the service's own way of waiting for PostgreSQL along: the floor has none.
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
    return _card(1, request.args["email"], verified=True)


@app.get("/select")
def one_select() -> Response:
    with engine.connect() as connection:
        row = connection.execute(by_key, {"key": request.args["email"]}).one()
    return _card(row.id, row.email, verified=row.verified_mail)


def _card(identity: int, email: str, *, verified: bool) -> Response:
    data = {"id": identity, "email": email, "roles": ["ROLE_PORTAL_USER"], "verified_mail": verified}
    return Response(json.dumps({"success": True, "data": data}), content_type="application/json")
