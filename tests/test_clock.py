"""Clock: PostgreSQL, Redis and the service have the same time, also if it is faked, so that expiries agree."""

from datetime import UTC, datetime, timedelta

import pytest
import redis

from auth_service import clock
from tests.support.stores import Query, Stores

CLOSE = timedelta(seconds=10)


@pytest.mark.clock
def test_postgresql_redis_and_the_service_agree_about_the_time(query: Query, stores: Stores) -> None:
    [(database,)] = query("SELECT now()")
    with redis.Redis.from_url(stores.redis_url) as client:
        seconds, microseconds = client.time()
    store = datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=microseconds)

    assert abs(database - clock.now()) < CLOSE
    assert abs(store - clock.now()) < CLOSE
