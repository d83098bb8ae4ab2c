"""Undoing what somebody else did to an account, with the link from the letter about it."""

from flask_restx import Resource

from auth_service.api.access import anyone
from auth_service.api.contract import Namespace
from auth_service.api.limits import PerClient
from auth_service.api.origin import origin
from auth_service.api.v1.schemas.undos import UndoForm
from auth_service.api.wired import services
from auth_service.errors import EmailTaken, UndoUnknown

undos = Namespace("undos", description="This was not me.")


@undos.route("/undo")
class Undo(Resource):
    """Undo links."""

    @undos.contract(
        access=anyone,
        body=UndoForm,
        done=True,
        limits=[PerClient(setting="limit_guesses")],
        refuses=[UndoUnknown, EmailTaken],
    )
    def post(self, body: UndoForm) -> None:
        """Take an account back with the token of the link: what stands behind `#` in it.

        Every session ends, no password fits any more, and a changed address is what it was. Its owner then sets a
        password with a code that is mailed there.
        """
        services().undos.carry_out(body.token.get_secret_value(), origin=origin())
