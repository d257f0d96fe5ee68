"""The queue: which Application is looked at next."""

import threading
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agent.reconcile.queue import WorkQueue


class Time:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_key_that_waits_already_is_worked_once():
    """Many reasons, one reconcile."""
    queue = WorkQueue(Time())
    for _ in range(3):
        queue.add("a")
    assert queue.take(0) == "a"
    queue.done("a")
    assert queue.take(0) is None


def test_a_key_added_while_it_is_worked_is_worked_again_and_never_twice_at_once():
    """One worker an Application; news during the work is not lost."""
    queue = WorkQueue(Time())
    queue.add("a")
    assert queue.take(0) == "a"
    queue.add("a")
    assert queue.take(0) is None
    queue.done("a")
    assert queue.take(0) == "a"


def test_an_earlier_wish_wins_over_a_later_one():
    """A hint does not wait for the poll, and the poll does not push the hint back."""
    time = Time()
    queue = WorkQueue(time)
    queue.add("a", 180)
    queue.add("a", 1)
    queue.add("a", 60)
    time.now = 1.0
    assert queue.take(0) == "a"
    queue.done("a")
    time.now = 200.0
    assert queue.take(0) is None


def test_a_forgotten_key_does_not_come():
    """A deleted Application is not polled."""
    queue = WorkQueue(Time())
    queue.add("a")
    queue.forget("a")
    assert queue.take(0) is None


def test_closing_wakes_everybody():
    """Workers end when the agent stops."""
    queue = WorkQueue()
    ended = [threading.Thread(target=queue.take) for _ in range(3)]
    for thread in ended:
        thread.start()
    queue.close()
    for thread in ended:
        thread.join(5)
    assert not any(thread.is_alive() for thread in ended)
    queue.add("a")
    assert queue.take(0) is None


@given(st.lists(st.sampled_from("abcde"), max_size=200), st.integers(1, 4))
def test_no_key_is_lost_between_threads(keys, workers):
    """Each key added is worked at least once after it was added, by one worker at a time."""
    queue = WorkQueue()
    seen: dict[str, int] = {}
    wanted = {key: index for index, key in enumerate(keys)}
    latest: dict[str, int] = {}
    at_once: set[str] = set()
    clashes: list[str] = []
    lock = threading.Lock()

    def work() -> None:
        while (key := queue.take()) is not None:
            with lock:
                clashes.extend([key] if key in at_once else [])
                at_once.add(key)
                seen[key] = latest[key]
            with lock:
                at_once.discard(key)
            queue.done(key)

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for index, key in enumerate(keys):
        with lock:
            latest[key] = index
        queue.add(key)
    settle(lambda: seen == wanted)
    queue.close()
    for thread in threads:
        thread.join(5)
    assert seen == wanted
    assert not clashes


def settle(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds, or five seconds: the assertion that follows tells."""
    tick = threading.Event()
    for _ in range(5000):
        if condition():
            return
        tick.wait(0.001)


class QueueModel(RuleBasedStateMachine):
    """Against the simplest model there is: a dict of due times and a set of keys in work."""

    def __init__(self) -> None:
        super().__init__()
        self.time = Time()
        self.queue = WorkQueue(self.time)
        self.due: dict[str, float] = {}
        self.working: set[str] = set()

    @rule(key=st.sampled_from("abc"), delay=st.sampled_from([0.0, 1.0, 5.0]))
    def add(self, key, delay):
        self.queue.add(key, delay)
        when = self.time.now + delay
        self.due[key] = min(self.due.get(key, when), when)

    @rule(key=st.sampled_from("abc"))
    def forget(self, key):
        self.queue.forget(key)
        self.due.pop(key, None)

    @rule(step=st.sampled_from([0.5, 3.0]))
    def pass_time(self, step):
        self.time.now += step

    @rule()
    def take(self):
        ready = {k: t for k, t in self.due.items() if t <= self.time.now and k not in self.working}
        key = self.queue.take(0)
        if not ready:
            assert key is None
            return
        assert key in ready
        assert ready[key] == min(ready.values())
        del self.due[key]
        self.working.add(key)

    @precondition(lambda self: self.working)
    @rule(data=st.data())
    def give_back(self, data):
        key = data.draw(st.sampled_from(sorted(self.working)))
        self.working.discard(key)
        self.queue.done(key)

    @invariant()
    def nobody_works_on_a_key_twice(self):
        assert self.working <= set("abc")


TestQueueModel = QueueModel.TestCase
