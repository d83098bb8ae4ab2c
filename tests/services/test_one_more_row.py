"""Atomicity of the audit log: an audit event at any point of any flow is committed with the whole flow or not at all.

`Interleaving` adds an audit event before each statement of a flow and before its commit, through the same call that
services use. Each flow runs once without a failure, and once for each of these points with a statement after the event
that fails in PostgreSQL: then the database has to be unchanged.
"""

from typing import Any

import psycopg2
import pytest

from tests.support.actors import Mailbox
from tests.support.application import MakeApp
from tests.support.flows import FLOWS, REJECTED, Flow
from tests.support.interleaving import Interleaving, World, run
from tests.support.stores import Query

pytestmark = pytest.mark.slow


@pytest.fixture
def world(make_app: MakeApp, request: pytest.FixtureRequest, query: Query, tmp_path: Any) -> World:
    from auth_service.adapters.email.dev_inbox import DevInbox

    app = make_app(rate_limits="off")
    return World(
        app=app,
        services=app.extensions["auth_service"],
        mailbox=Mailbox(app, DevInbox(tmp_path / "inbox")),
        query=query,
    )


@pytest.mark.parametrize("prepare", FLOWS, ids=lambda flow: flow.__name__)
def test_an_event_at_any_point_is_committed_with_the_whole_flow_or_not_at_all(world: World, prepare: Flow) -> None:
    flow = prepare(world)
    points = run(world, flow, fails_at=None)
    assert points >= 2, "before and after at least one statement"
    assert world.probes() == points

    for point in range(points):
        flow = prepare(world)
        before = world.contents()
        with pytest.raises(psycopg2.errors.DivisionByZero):
            run(world, flow, fails_at=point)
        assert world.contents() == before, f"point {point} of {points}"


@pytest.mark.parametrize(("prepare", "error"), REJECTED, ids=lambda value: getattr(value, "__name__", ""))
def test_a_rejected_attempt_is_recorded_with_every_event_or_not_at_all(
    world: World, prepare: Flow, error: type[Exception]
) -> None:
    flow = prepare(world)
    before = world.contents()
    with pytest.raises(error):
        run(world, flow, fails_at=None)
    points = Interleaving.points
    assert world.probes() == points
    assert world.contents() != before

    for point in range(points):
        flow = prepare(world)
        before = world.contents()
        with pytest.raises(psycopg2.errors.DivisionByZero):
            run(world, flow, fails_at=point)
        assert world.contents() == before, f"point {point} of {points}"
