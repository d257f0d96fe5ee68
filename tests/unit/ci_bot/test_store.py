"""What the hub remembers, on a real SQLite file."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from ci_bot.errors import ConfigError
from ci_bot.store import inbox, outbox, reports, tracking
from ci_bot.store.database import Database

NOW = 1_790_000_000.0


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path / "hub.db")
    opened.migrate()
    yield opened
    opened.close()


def delivery(**changes: object) -> inbox.Delivery:
    values: dict[str, object] = {"project": "group/config", "delivery": "d-1", "kind": "push"}
    return inbox.Delivery(**{**values, **changes})  # type: ignore[arg-type]


def owed(text: str = "one", key: str = "comment:7") -> outbox.Owed:
    return outbox.Owed(key=key, body={"text": text})


def due(database: Database, now: float = NOW) -> list[outbox.Owed]:
    with database.read() as connection:
        return outbox.list_due(connection, "group/config", now)


def put(database: Database, what: outbox.Owed, at: float = NOW) -> None:
    with database.write() as connection:
        outbox.put(connection, "group/config", what, at)


# -- the file ---------------------------------------------------------------------------------------------------------


def test_a_write_transaction_takes_the_lock_at_its_first_statement(database: Database):
    """H2: BEGIN IMMEDIATE, or a read that turns into a write fails at once whatever the timeout."""
    other = sqlite3.connect(database.path, timeout=0, isolation_level=None)
    with database.write(), pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("BEGIN IMMEDIATE")
    other.execute("BEGIN IMMEDIATE")
    other.close()


def test_readers_do_not_wait_for_a_writer(database: Database):
    """WAL: a page or a poll is answered while a transaction is open."""
    with database.write() as writing:
        inbox.save_delivery(writing, delivery(), NOW)
        with database.read() as reading:
            assert inbox.list_undone(reading, "group/config") == []


def test_nothing_of_a_failed_transaction_stays(database: Database):
    """An exception between two writes takes both back."""

    class BoomError(Exception):
        pass

    def fail_halfway() -> None:
        with database.write() as connection:
            inbox.save_delivery(connection, delivery(), NOW)
            raise BoomError

    with pytest.raises(BoomError):
        fail_halfway()
    with database.read() as connection:
        assert inbox.list_undone(connection, "group/config") == []


def test_migrating_twice_changes_nothing(database: Database):
    """Every start migrates."""
    put(database, owed())
    database.migrate()
    assert [each.body for each in due(database)] == [{"text": "one"}]


def test_a_database_of_a_newer_version_is_refused_with_what_to_do(database: Database):
    """H4: an unknown schema is never written to."""
    with sqlite3.connect(database.path) as raw:
        raw.execute("UPDATE alembic_version SET version_num = '9999'")
    raw.close()
    with pytest.raises(ConfigError, match=r"hub\.db: written by a newer Lockgate") as caught:
        database.migrate()
    assert caught.value.hint


def test_a_file_that_is_no_database_is_refused_with_what_to_do(tmp_path: Path):
    """H4: a corrupt file gives one line, and is not overwritten."""
    path = tmp_path / "hub.db"
    path.write_bytes(b"this is not a database" * 100)
    with pytest.raises(ConfigError, match=r"hub\.db: cannot be used") as caught:
        Database(path).migrate()
    assert caught.value.hint
    assert path.read_bytes().startswith(b"this is not")


def test_the_database_of_something_else_is_left_alone(tmp_path: Path):
    """H4: no schema of ours, and not empty: nothing is added to it."""
    path = tmp_path / "hub.db"
    with sqlite3.connect(path) as raw:
        raw.execute("CREATE TABLE recipes (name TEXT)")
    raw.close()
    with pytest.raises(ConfigError, match="something else") as caught:
        Database(path).migrate()
    assert caught.value.hint
    with sqlite3.connect(path) as raw:
        assert raw.execute("SELECT name FROM sqlite_master").fetchall() == [("recipes",)]
    raw.close()


def test_only_the_owner_can_read_the_database(database: Database):
    """Reports name people, images and clusters."""
    assert database.path.stat().st_mode & 0o077 == 0


def test_a_folder_that_is_not_there_is_refused_with_what_to_do(tmp_path: Path):
    """A mistyped path is a configuration error, not a traceback."""
    with pytest.raises(ConfigError, match="cannot be used"):
        Database(tmp_path / "missing" / "hub.db").migrate()


# -- inbox ------------------------------------------------------------------------------------------------------------


def test_a_repeated_delivery_is_stored_once(database: Database):
    """W5: the same delivery any number of times is one row."""
    with database.write() as connection:
        rows = [inbox.save_delivery(connection, delivery(), NOW + n) for n in range(100)]
    assert rows[0] > 0
    assert set(rows[1:]) == {0}
    with database.read() as connection:
        assert len(inbox.list_undone(connection, "group/config")) == 1


def test_a_delivery_worked_on_is_neither_worked_on_nor_stored_again(database: Database):
    """W7: a repetition after the work is still the same delivery."""
    with database.write() as connection:
        row = inbox.save_delivery(connection, delivery(), NOW)
        inbox.finish_delivery(connection, row, NOW + 1)
        assert inbox.save_delivery(connection, delivery(), NOW + 2) == 0
        assert inbox.list_undone(connection, "group/config") == []


def test_the_same_id_in_another_project_is_another_delivery(database: Database):
    """Ids are the forge's, and two forges know nothing of each other."""
    with database.write() as connection:
        assert inbox.save_delivery(connection, delivery(), NOW)
        assert inbox.save_delivery(connection, delivery(project="other/config"), NOW)


# -- reports ----------------------------------------------------------------------------------------------------------


def save(database: Database, body: bytes, *, epoch: str = "e1", seq: int = 1) -> bool:
    stored = reports.StoredReport(agent="a", cluster="", app="argocd/web", body=body)
    with database.write() as connection:
        agent = reports.Agent(agent="a", cluster="dev", epoch=epoch)
        reports.save_agent(connection, agent, NOW)
        return reports.save_report(connection, stored, epoch, seq, NOW)


def bodies(database: Database) -> list[bytes]:
    with database.read() as connection:
        return [each.body for each in reports.list_reports(connection, "a")]


def test_the_latest_report_wins_whatever_order_they_come_in(database: Database):
    """T11: a replayed or older number of one epoch is ignored."""
    assert save(database, b"two", seq=2)
    assert not save(database, b"one", seq=1)
    assert not save(database, b"two again", seq=2)
    assert bodies(database) == [b"two"]


def test_a_restarted_agent_counts_from_one_again(database: Database):
    """T11: a new epoch owns the name, however small its numbers are."""
    save(database, b"old", epoch="e1", seq=900)
    assert save(database, b"new", epoch="e2", seq=1)
    assert bodies(database) == [b"new"]


def test_a_replaced_process_can_say_nothing_more(database: Database):
    """D4: the newest stream owns the name; what the older one still had on its way is late."""
    save(database, b"new", epoch="e2", seq=1)
    stored = reports.StoredReport(agent="a", cluster="", app="argocd/web", body=b"late")
    with database.write() as connection:
        assert not reports.save_report(connection, stored, "e1", 900, NOW)
    assert bodies(database) == [b"new"]


def test_only_what_earlier_processes_reported_is_forgotten_later(database: Database):
    """A restarted agent reports what it has; the rest was removed while it was away."""
    save(database, b"kept", epoch="e1")
    with database.write() as connection:
        reports.save_agent(connection, reports.Agent(agent="a", cluster="dev", epoch="e2"), NOW)
        other = reports.StoredReport(agent="a", cluster="", app="argocd/api", body=b"new")
        assert reports.save_report(connection, other, "e2", 1, NOW)
        assert reports.list_apps(connection, "a", "e2") == {"argocd/api"}
        assert reports.delete_older_epochs(connection, "a", "e2") == ["argocd/web"]
    assert bodies(database) == [b"new"]


def test_what_an_agent_removed_is_forgotten(database: Database):
    """An Application that is gone is not waited for."""
    save(database, b"one")
    with database.write() as connection:
        reports.delete_report(connection, "a", "argocd/web")
    assert bodies(database) == []


# -- outbox -----------------------------------------------------------------------------------------------------------


def test_a_newer_text_replaces_the_one_that_is_owed(database: Database):
    """One row a key, the latest text wins."""
    put(database, owed("one"))
    put(database, owed("two"))
    assert [each.body["text"] for each in due(database)] == ["two"]


def test_settling_an_old_text_keeps_the_newer_one(database: Database):
    """What was changed while it was being sent is sent again."""
    put(database, owed("one"))
    sent = due(database)[0]
    put(database, owed("two"))
    with database.write() as connection:
        outbox.settle(connection, "group/config", sent)
    assert [each.body["text"] for each in due(database)] == ["two"]


def test_a_failed_write_waits_for_its_time(database: Database):
    """F1: nothing is sent before the forge said so."""
    put(database, owed())
    failed = due(database)[0]
    with database.write() as connection:
        failure = outbox.Failure(error="429", due_at=NOW + 60)
        outbox.postpone(connection, "group/config", failed, failure)
    assert due(database, NOW + 59) == []
    assert [each.attempts for each in due(database, NOW + 60)] == [1]


def test_a_quarantined_write_stays_for_a_person_and_is_not_sent(database: Database):
    """H10: one poisoned row stops nothing, and is not lost."""
    put(database, owed())
    with database.write() as connection:
        failure = outbox.Failure(error="boom", due_at=NOW, quarantined=True)
        outbox.postpone(connection, "group/config", due(database)[0], failure)
        assert outbox.count_owed(connection) == {True: 1}
    assert due(database, NOW + 1e6) == []


def test_a_new_text_ends_the_quarantine_of_its_key(database: Database):
    """The next state may be one that the forge takes."""
    put(database, owed())
    with database.write() as connection:
        failure = outbox.Failure(error="boom", due_at=NOW, quarantined=True)
        outbox.postpone(connection, "group/config", due(database)[0], failure)
    put(database, owed("two"))
    assert [each.body["text"] for each in due(database)] == ["two"]


# -- tracking ---------------------------------------------------------------------------------------------------------


def test_reading_a_merge_request_again_keeps_what_was_said(database: Database):
    """A poll must not make the hub say the same thing twice."""
    tracked = tracking.Tracked(number=7, facts={}, state="merged", target_branch="main")
    with database.write() as connection:
        tracking.save_tracked(connection, "group/config", tracked)
        tracking.mark_said(connection, "group/config", 7, "key", settled=True)
        tracking.save_tracked(connection, "group/config", tracked)
        found = tracking.find_tracked(connection, "group/config", 7)
    assert found is not None
    assert (found.said, found.settled) == ("key", True)


def test_every_id_we_ever_wrote_under_is_remembered(database: Database):
    """D11: a rotated project token is a new user, and its predecessor's comment is still ours."""
    with database.write() as connection:
        for user_id in ("41", "42", "41"):
            tracking.add_author(connection, "group/config", user_id)
    with database.read() as connection:
        assert tracking.list_authors(connection, "group/config") == ("41", "42")
