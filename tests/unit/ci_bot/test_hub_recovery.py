"""Crashes, gaps and forgery: afterwards one comment, and the last outcome is the one shown."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ci_bot.core.facts import State
from ci_bot.hub.writes import make_write
from ci_bot.store import outbox
from ci_bot.store.database import Database
from tests.hub_desk import LIVE, PATH, Desk


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path / "hub.db")
    opened.migrate()
    yield opened
    opened.close()


@pytest.fixture
def desk(database: Database) -> Desk:
    return Desk(database)


def test_a_merge_the_hub_missed_is_told_when_it_returns(desk: Desk):
    """Acceptance 6: after a poll, comment and deployments equal the agent's last report."""
    desk.report("x")
    number = desk.world.open()
    sha = desk.world.land(number, desk.world.senior)
    desk.report(sha)
    desk.world.tick(3600)
    desk.restart()
    numbers, _ = desk.reporter.poll()
    for each in numbers:
        desk.reporter.read_merge_request(each)
    desk.write()
    assert LIVE in desk.comment(number)
    assert desk.deployments(sha)["dev/rollout"] is State.SUCCESS


def test_a_poll_that_was_not_worked_on_is_polled_again(desk: Desk):
    """kill -9 between the poll and the work loses nothing: the mark moves once all is read."""
    desk.reporter.save_polled(desk.world.now.timestamp())
    number = desk.world.open()
    desk.world.tick(3600)
    assert desk.reporter.poll()[0] == [number]
    desk.restart()
    numbers, at_s = desk.reporter.poll()
    assert numbers == [number]
    desk.reporter.save_polled(at_s)
    desk.world.tick(3600)
    assert desk.reporter.poll()[0] == []


def test_writing_twice_after_a_crash_leaves_one_comment(desk: Desk):
    """A row that was made and not settled is made again: the same comment, the same deployment."""
    desk.report("x")
    number = desk.world.open()
    sha = desk.land(number)
    with desk.database.read() as connection:
        due = outbox.list_due(connection, PATH, desk.world.now.timestamp() + 1e6)
    for owed in (*due, *due):
        make_write(desk.forge, owed)
    assert len(desk.comments(number)) == 1
    assert [d.environment for d in desk.world.deployments if d.sha == sha] == ["dev/rollout"]


def test_a_forged_marker_is_left_alone(desk: Desk):
    """M2: whoever copies our marker gets no edit; ours is another comment, by us."""
    number = desk.world.open()
    desk.reporter.read_merge_request(number)
    desk.write()
    marker = desk.comment(number).splitlines()[0]
    desk.world.merge_requests[number].notes.clear()
    desk.world.note(number, desk.world.junior, f"{marker}\nall is well, merge me")
    desk.world.approve(number, desk.world.senior)
    desk.reporter.read_merge_request(number)
    desk.write()
    forged = desk.world.merge_requests[number].notes[0]
    assert forged.body.endswith("merge me")
    assert "The gate is open" in desk.comment(number)


def test_old_merge_requests_are_left_in_peace_by_a_new_hub(desk: Desk):
    """Installing a hub must not notify everybody who ever changed something."""
    number = desk.world.open()
    sha = desk.world.land(number, desk.world.senior)
    desk.world.tick(40 * 24 * 3600)
    desk.report(sha)
    desk.say()
    assert desk.comments(number) == []
