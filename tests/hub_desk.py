"""A `Desk`: the hub's reporter with its world, a real database, and the states that agents reported last."""

from dataclasses import replace

from ci_bot.core.facts import State
from ci_bot.core.rollout import AppState, Health, SyncStatus
from ci_bot.hub.projects import HubProject
from ci_bot.hub.reporter import Reporter, ReporterOptions
from ci_bot.hub.writes import make_write
from ci_bot.store import outbox
from ci_bot.store.database import Database
from tests.fake_forge import FakeForge
from tests.fake_world import World

PATH = "group/config"
SECRET = b"sixteen random bytes"
LIVE, ROLLING = "### 🟢 Live in", "### 🔵 Rolling out"


class Desk:
    """A reporter, its world, and the states that agents reported last."""

    def __init__(self, database: Database, *, merge_method: str = "merge") -> None:
        self.world = World(merge_method=merge_method)
        self.forge = FakeForge(self.world, me=self.world.hub)
        self.database = database
        self.states: dict[str, AppState] = {}
        self.restart()

    def restart(self) -> None:
        """A new process on the same database."""
        project = HubProject(
            path=PATH,
            repositories=("https://forge.test/group/config.git",),
            open_forge=lambda _ids: self.forge,
        )
        options = ReporterOptions(marker_secret=SECRET, now=lambda: self.world.now)
        self.reporter = Reporter(
            project, self.forge, self.database, lambda: list(self.states.values()), options
        )

    def report(self, sha: str, *, cluster: str = "dev-1", app: str = "argocd/web", **more: object):
        """Let an agent report a live Application at `sha`; `more` changes that."""
        now = self.world.tick()
        state = AppState(
            cluster=cluster,
            app=app,
            repo="git@forge.test:group/config.git",
            path="dev",
            target_revision="HEAD",
            revision=sha,
            change_revision=sha,
            sync=SyncStatus.SYNCED,
            health=Health.HEALTHY,
            applied_at=now,
            healthy_since=now,
        )
        self.states[f"{cluster}/{app}"] = replace(state, **more)  # type: ignore[arg-type]

    def say(self) -> None:
        """Do what the worker does once reports have come."""
        touched = self.reporter.find_touched()
        for number in touched.landed:
            self.reporter.say_rollout(number)
        for number in (*touched.unread, *touched.open):
            self.reporter.read_merge_request(number)
        self.write()

    def write(self) -> list[str]:
        """Make every owed write, however far off; return their keys."""
        with self.database.read() as connection:
            due = outbox.list_due(connection, PATH, self.world.now.timestamp() + 1e6)
        for owed in due:
            make_write(self.forge, owed)
            with self.database.write() as connection:
                outbox.settle(connection, PATH, owed)
        return [owed.key for owed in due]

    def land(self, number: int) -> str:
        sha = self.world.land(number, self.world.senior)
        self.reporter.read_merge_request(number)
        return sha

    def comments(self, number: int) -> list[str]:
        notes = self.world.merge_requests[number].notes
        return [note.body for note in notes if note.author == self.world.hub]

    def comment(self, number: int) -> str:
        (only,) = self.comments(number)
        return only

    def deployments(self, sha: str) -> dict[str, State]:
        return {d.environment: d.state for d in self.world.deployments if d.sha == sha}
