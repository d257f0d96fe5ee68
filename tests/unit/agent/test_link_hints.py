"""A hint means "look"; a flood of them means one look a second."""

from agent.link.hints import HintGate


class World:
    def __init__(self):
        self.now = 0.0
        self.later = []
        self.seen = []
        self.gate = HintGate(
            lambda repo, ref: self.seen.append((repo, ref)),
            clock=lambda: self.now,
            schedule=lambda delay, call: self.later.append((self.now + delay, call)),
        )

    def pass_time(self, seconds):
        self.now += seconds
        due, self.later = (
            [call for at, call in self.later if at <= self.now],
            [(at, call) for at, call in self.later if at > self.now],
        )
        for call in due:
            call()


REPO = "https://forge.example/g/config.git"


def test_a_hint_passes_at_once():
    world = World()
    assert world.gate.take(REPO, "refs/heads/main")
    assert world.seen == [(REPO, "refs/heads/main")]


def test_a_flood_is_merged_and_its_last_hint_is_not_lost():
    """10,000 in a second: the burst, then one a second while it lasts, the last one after the flood."""
    world = World()
    for _ in range(10_000):
        world.gate.take(REPO, "refs/heads/main")
        world.pass_time(0.0001)
    assert 5 <= len(world.seen) <= 7
    before = len(world.seen)
    world.pass_time(2)
    assert len(world.seen) == before + 1


def test_merged_hints_for_different_refs_mean_the_whole_repository():
    world = World()
    for number in range(20):
        world.gate.take(REPO, f"refs/heads/{number}")
    world.pass_time(2)
    assert world.seen[-1] == (REPO, "")


def test_repositories_do_not_slow_each_other_and_are_not_remembered_for_ever():
    world = World()
    for number in range(5_000):
        assert world.gate.take(f"https://forge.example/g/{number}", "")
    assert len(world.gate._buckets) <= 256


def test_nonsense_is_dropped():
    world = World()
    assert not world.gate.take("\r\nHost: x", "refs/heads/main")
    assert not world.gate.take(REPO, "x" * 5000)
    assert not world.gate.take(REPO, "a\nb")
    assert not world.seen
