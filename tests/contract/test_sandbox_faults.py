"""The stand-in misbehaves on demand, each fault once, and says what was on the wire; it survives a restart."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest
import requests

from sandbox.forge import SandboxForge
from sandbox.forge.seed import DEPLOYMENT
from tests.conftest import ROOT


@pytest.fixture
def api(forge):
    """A plain HTTP session as the hub, and the address of the project."""
    with requests.Session() as session:
        session.trust_env = False
        session.verify = forge.ca_file
        session.headers["PRIVATE-TOKEN"] = forge.token("lockgate-hub")
        yield session, f"{forge.url}/api/v4/projects/1"


@pytest.fixture
def notes(forge, api):
    """A merge request's notes: their address, and how many there are."""
    bot = forge.as_user("lockgate-bot")
    bot.push("lockgate/dev/app", {"dev/deployment.yaml": DEPLOYMENT.replace("1.0", "1.2")})
    iid = bot.open("lockgate/dev/app")
    request = bot.merge_request(iid)
    return f"{api[1]}/merge_requests/{iid}/notes", lambda: len(forge.instance.notes(request))


@pytest.mark.parametrize("after", ["3", "Wed, 21 Oct 2099 07:28:00 GMT", None])
def test_too_many_requests(forge, api, notes, after):
    """429 once, with Retry-After as seconds, as a date, or not at all; nothing was written."""
    fault = forge.faults.add("rate_limit", method="POST", path="/notes$", retry_after=after)
    reply = api[0].post(notes[0], json={"body": "x"})
    assert (reply.status_code, reply.headers.get("Retry-After")) == (429, after)
    assert notes[1]() == 0
    assert api[0].post(notes[0], json={"body": "x"}).status_code == 201
    assert fault.hits == 1


def test_502_after_the_write_happened(forge, api, notes):
    """The client hears 502 and the note is there (F2)."""
    forge.faults.add("bad_gateway", method="POST", path="/notes$")
    assert api[0].post(notes[0], json={"body": "x"}).status_code == 502
    assert notes[1]() == 1


@pytest.mark.parametrize(("kind", "written"), [("lost_reply", 1), ("refused", 0)])
def test_a_connection_that_closes_without_an_answer(forge, api, notes, kind, written):
    """Not a byte comes back; whether it was written is the difference between the two."""
    forge.faults.add(kind, method="POST", path="/notes$")
    with pytest.raises(requests.ConnectionError):
        api[0].post(notes[0], json={"body": "x"})
    assert notes[1]() == written
    assert forge.requests.matching("POST", "/notes$")[-1].status == 0


@pytest.mark.parametrize(("kind", "written"), [("hang", 0), ("hang_after", 1)])
def test_a_forge_that_says_nothing(forge, api, notes, kind, written):
    """A client with a deadline gets away (F3); stopping the forge does not wait for the silence."""
    forge.faults.add(kind, method="POST", path="/notes$", seconds=3600)
    with pytest.raises(requests.Timeout):
        api[0].post(notes[0], json={"body": "x"}, timeout=0.5)
    assert notes[1]() == written


def test_a_body_that_drips(forge, api):
    """Every byte in time, the whole never: only a total deadline helps (F3)."""
    forge.faults.add("slow_body", path="/projects/1$", seconds=0.2)
    reply = api[0].get(api[1], stream=True, timeout=2)
    assert len(next(reply.iter_content(1))) == 1
    reply.close()


@pytest.mark.parametrize(
    ("kind", "start"), [("truncated", b'{"id": 1'), ("html", b"<!DOCTYPE html>"), ("empty", b"")]
)
def test_200_with_a_body_that_is_no_answer(forge, api, kind, start):
    """The status lies: half the JSON, a page, nothing (F4)."""
    forge.faults.add(kind, path="/projects/1$")
    reply = api[0].get(api[1])
    assert reply.status_code == 200
    assert reply.content.startswith(start)
    with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
        json.loads(reply.content)


def test_null_fields_unknown_words_redirects_and_plain_errors(forge, api):
    """What is laid over an answer, where it sends one, and any status with any body."""
    forge.faults.add(
        "patch", path="/projects/1$", patch={"default_branch": None, "merge_method": "new"}
    )
    body = api[0].get(api[1]).json()
    assert (body["default_branch"], body["merge_method"], body["id"]) == (None, "new", 1)
    forge.faults.add("redirect", path="/projects/1$", location="http://elsewhere.invalid/")
    assert (
        api[0].get(api[1], allow_redirects=False).headers["location"] == "http://elsewhere.invalid/"
    )
    forge.faults.add("status", path="/projects/1$", status=406, body='{"message":"no"}')
    assert api[0].get(api[1]).status_code == 406


def test_no_token_reaches_the_request_log(forge, api):
    """The log keeps method, path, query, body and user; headers it does not keep."""
    api[0].get(api[1], params={"statistics": "true"})
    entry = forge.requests.matching("GET", "/projects/1$")[-1]
    assert (entry.query, entry.status, entry.user) == ({"statistics": "true"}, 200, "lockgate-hub")
    assert not any(forge.token("lockgate-hub") in str(e) for e in forge.requests)


def test_state_survives_a_restart(tmp_path, forge_authority):
    """Same root: merge requests, comments, tokens and ids go on where they were."""
    root = tmp_path / "forge"
    with SandboxForge(root, authority=forge_authority) as first:
        bot = first.as_user("lockgate-bot")
        bot.push("lockgate/dev/app", {"x": "1"})
        iid = bot.open("lockgate/dev/app", "Kept")
        bot.comment(iid, "still here")
        token = first.token("lockgate-bot")
    with SandboxForge(root, authority=forge_authority) as second:
        assert second.token("lockgate-bot") == token
        request = second.as_user("senior").merge_request(iid)
        assert [n.body for n in second.instance.notes(request)] == ["still here"]
        second.as_user("senior").merge(iid)


def test_as_a_process_it_writes_its_facts_and_ends_on_sigterm(tmp_path):
    """`python -m sandbox.forge`: forge.json (0600), faults and the log over HTTP, exit 0, ports closed."""
    seed = tmp_path / "seed.json"
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.yaml").write_text("a: 1\n")
    project = {"path": "team/config", "files_dir": "files", "merge_method": "ff"}
    users = [{"username": "ann", "role": "maintainer"}]
    seed.write_text(json.dumps({"users": users, "projects": [project]}))
    root = tmp_path / "forge"
    argv = [sys.executable, "-m", "sandbox.forge", "--root", str(root), "--seed", str(seed)]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline().startswith("forge https://127.0.0.1:")
        facts = json.loads((root / "forge.json").read_text())
        assert (root / "forge.json").stat().st_mode & 0o077 == 0
        with requests.Session() as session:
            session.trust_env = False
            session.verify = facts["ca_file"]
            session.headers["PRIVATE-TOKEN"] = facts["tokens"]["ann"]
            address = f"{facts['url']}/api/v4/projects/team%2Fconfig"
            assert session.get(address).json()["merge_method"] == "ff"
            fault = {"kind": "status", "path": "config$", "status": 503}
            assert session.post(f"{facts['url']}/_sandbox/faults", json=fault).status_code == 201
            assert session.get(address).status_code == 503
            log = session.get(f"{facts['url']}/_sandbox/requests").json()
            assert [e["status"] for e in log] == [200, 503]
        with urllib.request.urlopen(f"{facts['pages_url']}/team/config", timeout=5) as page:
            assert b"a.yaml" in page.read()
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(timeout=10) == 0
    port = int(facts["url"].rsplit(":", 1)[1])
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
