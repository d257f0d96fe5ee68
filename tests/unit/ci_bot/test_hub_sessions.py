"""Who gets a hint: exactly the agents whose Applications follow what was pushed."""

import pytest

from ci_bot.hub.sessions import Followed, Session, Sessions
from protos.lockgate.v1 import agent_pb2 as pb

REPO = "https://forge.test/group/config.git"


def connect(sessions: Sessions, name: str, target: str, repo: str = REPO) -> Session:
    report = pb.ApplicationReport(repo=repo, target_revision=target)
    session = Session(agent=name, cluster=name, epoch="e", followed={Followed.of(report)})
    sessions.open(session)
    return session


@pytest.mark.parametrize(
    ("target", "ref", "default", "told"),
    [
        ("main", "refs/heads/main", "main", True),
        ("refs/heads/main", "refs/heads/main", "main", True),
        ("HEAD", "refs/heads/main", "main", True),
        ("", "refs/heads/main", "main", True),
        ("HEAD", "refs/heads/lockgate/dev/app", "main", False),
        ("HEAD", "refs/heads/main", "", True),
        ("main", "refs/heads/prod", "main", False),
        ("prod", "refs/heads/prod", "main", True),
        ("v1", "refs/tags/v1", "main", True),
    ],
)
def test_a_push_tells_those_who_follow_what_was_pushed(
    target: str, ref: str, default: str, told: bool
):
    sessions = Sessions()
    session = connect(sessions, "a", target)
    assert sessions.hint([REPO], ref, default) == int(told)
    assert session.outgoing.qsize() == int(told)


def test_another_repository_is_not_told():
    sessions = Sessions()
    connect(sessions, "a", "main", "https://forge.test/group/other.git")
    assert sessions.hint([REPO], "refs/heads/main", "main") == 0


def test_an_agent_that_follows_branch_and_head_is_told_once():
    sessions = Sessions()
    session = connect(sessions, "a", "main")
    session.followed.add(Followed.of(pb.ApplicationReport(repo=REPO, target_revision="HEAD")))
    assert sessions.hint([REPO], "refs/heads/main", "main") == 1
