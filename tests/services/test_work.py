"""Units of work: what a refusal leaves behind."""

import pytest
from flask import Flask

from auth_service.errors import Conflict
from auth_service.models import Role, db, unit_of_work
from auth_service.settings import Settings
from auth_service.wiring import wire


class Forgets(Conflict):
    """This was refused."""


class Keeps(Conflict):
    """This was refused, and noted."""

    keeps_work = True


@pytest.mark.parametrize(("refusal", "stays"), [(Forgets, False), (Keeps, True)])
def test_a_refusal_keeps_work_only_where_it_says_so(app: Flask, refusal: type[Conflict], stays: bool) -> None:
    def refuse() -> None:
        with unit_of_work():
            db.session.add(Role(name="ROLE_OF_A_TEST"))
            raise refusal

    with app.app_context():
        with pytest.raises(refusal):
            refuse()
        with unit_of_work():
            found = db.session.get(Role, "ROLE_OF_A_TEST")
            if found is not None:
                db.session.delete(found)

    assert (found is not None) is stays


def test_settings_have_to_be_complete() -> None:
    with pytest.raises(ValueError, match="completed"):
        wire(Settings.read(env_file=None, app_env="test"))
