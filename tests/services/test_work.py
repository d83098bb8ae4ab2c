"""Units of work: what a refusal leaves behind."""

import pytest
from flask import Flask
from sqlalchemy import delete, insert

from auth_service.errors import Conflict
from auth_service.models import Role, unit_of_work, writing
from auth_service.settings import Settings
from auth_service.wiring import wire


class Forgets(Conflict):
    """Raised by this test only."""

    error_code = "forgets"
    message = "Send something else."


class Keeps(Forgets):
    """The same, for an error that commits what was written before it."""

    keeps_work = True


@pytest.mark.parametrize(("refusal", "stays"), [(Forgets, False), (Keeps, True)])
def test_a_refusal_keeps_work_only_where_it_says_so(app: Flask, refusal: type[Conflict], stays: bool) -> None:
    def refuse() -> None:
        with unit_of_work():
            writing().execute(insert(Role).values(name="ROLE_OF_A_TEST"))
            raise refusal

    with app.app_context():
        with pytest.raises(refusal):
            refuse()
        with unit_of_work():
            gone = writing().execute(delete(Role).where(Role.name == "ROLE_OF_A_TEST").returning(Role.name)).all()

    assert bool(gone) is stays


def test_settings_have_to_be_complete() -> None:
    with pytest.raises(ValueError, match="completed"):
        wire(Settings.read(env_file=None, app_env="test"))
