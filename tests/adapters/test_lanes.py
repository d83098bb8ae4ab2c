"""Lanes: so much work at once, in order, and more of it only while something waits aside."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future

import pytest

from auth_service.adapters.request_threads import MOST_SPARE, Lanes, stepping_aside

LONG = 20.0


class Work:
    """Pieces of work that are held up, and how many of them were under way at once."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.begun = threading.Semaphore(0)
        self.lock = threading.Lock()
        self.at_once = self.most_at_once = 0

    def busy(self) -> None:
        """Take a lane until the gate opens."""
        with self.lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        self.begun.release()
        assert self.gate.wait(LONG)
        with self.lock:
            self.at_once -= 1

    def aside(self) -> str:
        """Wait for the gate, but not in the lane."""
        self.begun.release()
        with stepping_aside():
            assert self.gate.wait(LONG)
        return "done"

    def have_begun(self, number: int) -> None:
        for _ in range(number):
            assert self.begun.acquire(timeout=LONG)


@pytest.fixture
def lanes() -> Iterator[Lanes]:
    """Two lanes."""
    made = Lanes(at_once=2)
    yield made
    made.shutdown(wait=False)


def test_so_much_is_at_work_at_once_and_no_more(lanes: Lanes) -> None:
    work = Work()
    asked = [lanes.submit(work.busy) for _ in range(10)]
    work.have_begun(2)
    time.sleep(0.05)

    assert not work.begun.acquire(blocking=False), "a third one has begun"
    work.gate.set()
    for outcome in asked:
        outcome.result(LONG)
    assert work.most_at_once == 2


def test_who_waits_aside_takes_no_lane(lanes: Lanes) -> None:
    work = Work()
    waiting = [lanes.submit(work.aside) for _ in range(20)]
    work.have_begun(20)

    assert lanes.submit(lambda: "through").result(LONG) == "through"
    work.gate.set()
    assert [outcome.result(LONG) for outcome in waiting] == ["done"] * 20


def test_afterwards_there_are_as_many_lanes_as_before(lanes: Lanes) -> None:
    for _ in range(3):
        crowd = Work()
        waiting = [lanes.submit(crowd.aside) for _ in range(8)]
        crowd.have_begun(8)
        crowd.gate.set()
        for outcome in waiting:
            outcome.result(LONG)
    threads = threading.active_count()

    work = Work()
    asked = [lanes.submit(work.busy) for _ in range(10)]
    work.have_begun(2)
    time.sleep(0.05)
    at_once = work.at_once
    work.gate.set()
    for outcome in asked:
        outcome.result(LONG)

    assert at_once == 2
    assert threading.active_count() <= threads, "threads are used again"


def test_of_a_great_crowd_most_threads_end(lanes: Lanes) -> None:
    before = threading.active_count()
    work = Work()
    waiting = [lanes.submit(work.aside) for _ in range(3 * MOST_SPARE)]
    work.have_begun(3 * MOST_SPARE)
    work.gate.set()
    for outcome in waiting:
        assert outcome.result(LONG) == "done"

    give_up_at = time.monotonic() + LONG
    while threading.active_count() > before + MOST_SPARE and time.monotonic() < give_up_at:
        time.sleep(0.01)
    assert threading.active_count() <= before + MOST_SPARE
    assert lanes.submit(lambda: "through").result(LONG) == "through"


def test_what_goes_wrong_is_told_to_who_asked(lanes: Lanes) -> None:
    def fail() -> None:
        raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        lanes.submit(fail).result(LONG)
    assert lanes.submit(lambda: 7).result(LONG) == 7


def test_what_was_called_off_is_not_done(lanes: Lanes) -> None:
    work = Work()
    busy = [lanes.submit(work.busy) for _ in range(2)]
    work.have_begun(2)
    done: list[int] = []
    third: Future[None] = lanes.submit(done.append, 3)

    assert third.cancel()
    work.gate.set()
    for outcome in busy:
        outcome.result(LONG)
    lanes.submit(done.append, 4).result(LONG)
    assert done == [4]


def test_where_no_thread_can_be_started_work_goes_on(lanes: Lanes, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_thread(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    work = Work()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        waiting = lanes.submit(work.aside)
        work.have_begun(1)
        assert lanes.submit(lambda: "through").result(LONG) == "through"
        work.gate.set()
        assert waiting.result(LONG) == "done"
    assert lanes.submit(lambda: "through").result(LONG) == "through"


def test_closed_lanes_take_nothing_and_finish_what_they_have() -> None:
    lanes, work = Lanes(at_once=1), Work()
    busy, queued = lanes.submit(work.busy), lanes.submit(lambda: "queued")
    work.have_begun(1)

    lanes.shutdown(wait=False)
    with pytest.raises(RuntimeError):
        lanes.submit(lambda: "late")
    work.gate.set()

    busy.result(LONG)
    assert queued.result(LONG) == "queued"


def test_outside_of_lanes_nothing_steps_aside() -> None:
    with stepping_aside():
        pass
