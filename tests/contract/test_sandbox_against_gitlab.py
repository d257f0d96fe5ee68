"""The stand-in against GitLab's own published contract, driven by the unpatched python-gitlab (D50)."""

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from sandbox.certificates import Authority
from sandbox.forge import SandboxForge
from sandbox.forge.api import routes
from tests.gitlab_contract import UNPUBLISHED, Contract
from tests.gitlab_conversation import Conversation, hold
from tests.gitlab_left_out import (
    LEFT_OUT,
    NOT_IN_THE_CONVERSATION,
    RSPEC,
    RSPEC_LISTS,
    RSPEC_OUTDATED,
    SAMPLES,
)

pytestmark = pytest.mark.shared


@pytest.fixture(scope="module")
def talk(
    tmp_path_factory: pytest.TempPathFactory, forge_authority: Authority
) -> Iterator[Conversation]:
    with SandboxForge(tmp_path_factory.mktemp("forge"), authority=forge_authority) as forge:
        held = Conversation(forge)
        hold(held)
        yield held
        held.close()


@pytest.fixture(scope="module")
def contract(shared) -> Contract:
    return Contract(shared / "contracts")


def test_every_answer_fits_the_published_contract(talk, contract):
    """Requests and answers validate, every key is one GitLab publishes, every status documented."""
    complaints = [c for exchange in talk.exchanges for c in contract.complaints(exchange)]
    assert complaints == [], "\n".join(complaints)
    assert len(talk.exchanges) > 80


def test_every_endpoint_of_the_sandbox_was_in_the_conversation(talk, contract):
    """An endpoint nobody calls here could answer anything; those left are named with the reason."""
    asked = {(e.method, contract.template(e.method.lower(), e.path)) for e in talk.exchanges}
    asked |= {(e.method, e.path) for e in talk.exchanges if e.path in UNPUBLISHED}
    missing = []
    for method, pattern in routes().endpoints():
        concrete = "/api/v4/" + "/".join("1" if p.startswith(":") else p for p in pattern)
        known = concrete if concrete in UNPUBLISHED else contract.template(method.lower(), concrete)
        if (method, known) not in asked:
            missing.append(f"{method} {concrete}")
    assert sorted(missing) == sorted(NOT_IN_THE_CONVERSATION)


@pytest.mark.parametrize("kind", sorted(SAMPLES))
def test_what_gitlab_shows_in_its_samples_is_there(talk, contract, kind):
    """Every key of the published samples is sent, or listed with why not; no stale excuse stays."""
    excused = set(LEFT_OUT.get(kind, {}))
    missing = contract.sample_keys(*SAMPLES[kind]) - set(talk.values[kind])
    assert missing - excused == set()
    assert excused - missing == set(), "excuses nothing needs"


@pytest.mark.parametrize("kind", sorted(RSPEC) + sorted(RSPEC_LISTS))
def test_gitlabs_own_test_schemas_accept_the_answers(talk, contract, kind):
    """GitLab's rspec schemas, but for what its newer published API says otherwise."""
    value = talk.values[kind]
    name = RSPEC.get(kind) or RSPEC_LISTS[kind]
    errors = contract.rspec_errors(name, [value] if kind in RSPEC_LISTS else value)
    outdated = RSPEC_OUTDATED.get(kind, ())
    assert [e for e in errors if not any(word.lower() in e.lower() for word in outdated)] == []


def test_the_contract_bites(talk, contract):
    """A wrong type, a key GitLab has not, a status it does not send: each is a complaint."""
    good = next(
        e
        for e in talk.exchanges
        if e.method == "GET" and e.path.endswith("/merge_requests/1") and e.status == 200
    )
    value = json.loads(good.answer)
    assert contract.complaints(good) == []
    for spoiled in (value | {"iid": "one"}, value | {"mergeable": True}, value | {"author": [1]}):
        assert contract.complaints(replace(good, answer=json.dumps(spoiled).encode())) != []
    assert contract.complaints(replace(good, status=418)) != []
    assert contract.complaints(replace(good, url=good.url + "/no_such_endpoint")) != []
    assert contract.rspec_errors("merge_request", {"id": "1"}) != []
    body = json.dumps({"source_branch": "a", "target_branch": "b", "title": 5}).encode()
    post = next(
        e for e in talk.exchanges if e.method == "POST" and e.path.endswith("/merge_requests")
    )
    assert contract.complaints(replace(post, body=body)) != []


def test_the_head_is_on_the_wire_as_a_query(talk):
    """python-gitlab puts `sha` of a merge into the query string; the forge honoured it there (409, then 200)."""
    merges = talk.forge.requests.matching("PUT", r"/merge_requests/1/merge$")
    assert [entry.status for entry in merges] == [409, 200]
    assert all(len(entry.query["sha"]) == 40 for entry in merges)
