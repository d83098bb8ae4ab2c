"""Request threads: one for each client; so many requests at work at once, and more only while they wait."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from auth_service.adapters.request_threads import RequestSlots, RequestThreads, release_slot

LONG = 20.0
SHORT = 0.05


class Application:
    """Requests that wait for a gate, with their slot or without it, and how many of them were at work at once."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.begun = threading.Semaphore(0)
        self.lock = threading.Lock()
        self.at_work = self.most_at_work = 0

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        self.count(1)
        self.begun.release()
        if environ.get("releases"):
            self.count(-1)
            with release_slot():
                assert self.gate.wait(LONG)
            self.count(1)
            time.sleep(SHORT / 5)
        elif environ.get("waits"):
            assert self.gate.wait(LONG)
        self.count(-1)
        if environ.get("fails"):
            raise ValueError("wrong")
        return [b"done"]

    def count(self, difference: int) -> None:
        with self.lock:
            self.at_work += difference
            self.most_at_work = max(self.most_at_work, self.at_work)

    def have_begun(self, number: int) -> None:
        for _ in range(number):
            assert self.begun.acquire(timeout=LONG)


class Requests:
    """Two slots, and threads enough."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self.application = Application()
        self._pool = pool
        self._limited = RequestSlots(2).around(self.application)

    def send(self, **environ: bool) -> "Future[Iterable[bytes]]":
        return self._pool.submit(self._limited, environ, print)


@pytest.fixture
def requests() -> Iterator[Requests]:
    with ThreadPoolExecutor(32) as pool:
        made = Requests(pool)
        yield made
        made.application.gate.set()


def test_more_requests_than_slots_wait(requests: Requests) -> None:
    sent = [requests.send(waits=True) for _ in range(10)]
    requests.application.have_begun(2)
    time.sleep(SHORT)

    assert not requests.application.begun.acquire(blocking=False), "a third one has begun"
    requests.application.gate.set()
    assert [list(request.result(LONG)) for request in sent] == [[b"done"]] * 10
    assert requests.application.most_at_work == 2


def test_requests_that_wait_without_a_slot_keep_nobody_from_being_served(requests: Requests) -> None:
    waiting = [requests.send(releases=True) for _ in range(20)]
    requests.application.have_begun(20)

    assert list(requests.send().result(LONG)) == [b"done"]
    requests.application.gate.set()
    for request in waiting:
        assert list(request.result(LONG)) == [b"done"]


def test_requests_that_go_on_after_a_wait_need_a_slot_again(requests: Requests) -> None:
    waiting = [requests.send(releases=True) for _ in range(20)]
    requests.application.have_begun(20)
    requests.application.gate.set()
    for request in waiting:
        request.result(LONG)

    assert requests.application.most_at_work == 2


def test_a_request_that_fails_gives_its_slot_back(requests: Requests) -> None:
    for _ in range(5):
        with pytest.raises(ValueError, match="wrong"):
            requests.send(fails=True).result(LONG)

    assert list(requests.send().result(LONG)) == [b"done"]


def test_outside_of_a_request_there_is_no_slot_to_release(requests: Requests) -> None:
    with release_slot():
        assert list(requests.send().result(LONG)) == [b"done"]


def test_while_a_slot_is_released_there_is_no_second_one_to_release() -> None:
    most: list[int] = []

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        with release_slot(), release_slot():
            most.append(slots._free.qsize())
        return []

    slots = RequestSlots(1)
    slots.around(application)({}, print)

    assert most == [1]
    assert slots._free.qsize() == 1


def test_where_no_more_threads_can_be_started_work_waits_for_those_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_thread(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    threads, gate = RequestThreads(8), threading.Event()
    first = threads.submit(gate.wait, LONG)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        others = [threads.submit(lambda: "done") for _ in range(5)]
        assert not any(other.done() for other in others)
        gate.set()
        assert first.result(LONG)
        assert [other.result(LONG) for other in others] == ["done"] * 5
    assert threads.submit(lambda: "done").result(LONG) == "done"
    threads.shutdown()


def test_what_fails_in_a_thread_is_told_to_who_submitted_it() -> None:
    threads = RequestThreads(2)

    def fail() -> None:
        raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        threads.submit(fail).result(LONG)
    threads.shutdown()


def test_work_that_was_cancelled_is_not_done_and_a_pool_that_is_shut_down_takes_none() -> None:
    threads, gate, done = RequestThreads(1), threading.Event(), list[int]()
    first = threads.submit(gate.wait, LONG)
    second = threads.submit(done.append, 2)

    assert second.cancel()
    gate.set()
    assert first.result(LONG)
    threads.submit(done.append, 3).result(LONG)
    threads.shutdown()
    assert done == [3]
    with pytest.raises(RuntimeError):
        threads.submit(done.append, 4)
