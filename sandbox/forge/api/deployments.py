"""Environments and deployments: Developer rights, no protected-branch rule, no filter by commit (D9)."""

import hashlib
import re

from sandbox.forge import entities_change
from sandbox.forge.access import require_level
from sandbox.forge.model import DEVELOPER, REPORTER, Deployment, Environment, Project, now
from sandbox.forge.refusal import Refusal, bad_request, invalid, not_found
from sandbox.forge.wire import Call, Reply, Routes, answer

ENVIRONMENTS = "/projects/:id/environments"
DEPLOYMENTS = "/projects/:id/deployments"
STATES = {"running", "success", "failed", "canceled"}
LISTED = STATES | {"created", "blocked"}
TIERS = ("production", "staging", "testing", "development", "other")
SLUG_LENGTH = 24


def register(routes: Routes) -> None:
    routes.add("GET", ENVIRONMENTS)(environments)
    routes.add("POST", ENVIRONMENTS)(create_environment)
    routes.add("GET", f"{ENVIRONMENTS}/:environment_id")(environment)
    routes.add("PUT", f"{ENVIRONMENTS}/:environment_id")(update_environment)
    routes.add("GET", DEPLOYMENTS)(list_all)
    routes.add("POST", DEPLOYMENTS)(create)
    routes.add("GET", f"{DEPLOYMENTS}/:deployment_id")(get)
    routes.add("PUT", f"{DEPLOYMENTS}/:deployment_id")(update)
    routes.add("GET", f"{DEPLOYMENTS}/:deployment_id/merge_requests")(merge_requests)


# --- environments ---


def _named(call: Call, project: Project, name: str) -> Environment | None:
    every = call.instance.state.environments
    return next((e for e in every if e.project_id == project.id and e.name == name), None)


def environments(call: Call) -> Reply:
    project = call.project
    require_level(project, call.caller, REPORTER)
    name, search = call.text("name"), call.text("search")
    found = [
        e
        for e in call.instance.state.environments
        if e.project_id == project.id
        and name in {"", e.name}
        and search in e.name
        and call.text("states") in {"", e.state}
    ]
    return call.page(found, lambda e: entities_change.environment(call.instance, e))


def _environment(call: Call) -> Environment:
    project = call.project
    for known in call.instance.state.environments:
        if known.project_id == project.id and str(known.id) == call.names["environment_id"]:
            return known
    raise not_found("Environment")


def environment(call: Call) -> Reply:
    require_level(call.project, call.caller, REPORTER)
    return answer(entities_change.environment(call.instance, _environment(call)))


def create_environment(call: Call) -> Reply:
    project = call.project
    require_level(project, call.caller, DEVELOPER)
    name = str(call.required("name"))
    if _named(call, project, name) is not None:
        taken = {"message": {"name": ["has already been taken"]}}
        raise Refusal(400, "name has already been taken", taken)
    made = _make_environment(call, project, name)
    return answer(entities_change.environment(call.instance, made), 201)


def update_environment(call: Call) -> Reply:
    require_level(call.project, call.caller, DEVELOPER)
    known = _environment(call)
    known.tier = _tier(call, known.name) if call.text("tier") else known.tier
    known.external_url = call.text("external_url", known.external_url or "") or None
    known.updated_at = now()
    return answer(entities_change.environment(call.instance, known))


def _make_environment(call: Call, project: Project, name: str) -> Environment:
    if not re.fullmatch(r"[\w\-/${}. ]{1,255}", name) or name.startswith("/") or name.endswith("/"):
        raise bad_request(
            "Name can contain only letters, digits, '-', '_', '/', '$', '{', '}', '.', and spaces"
        )
    made = Environment(
        id=call.instance.state.next_id("environment"),
        project_id=project.id,
        name=name,
        slug=_slug(name),
        tier=_tier(call, name),
        external_url=call.text("external_url") or None,
        description=call.text("description") or None,
    )
    call.instance.state.environments.append(made)
    return made


def _slug(name: str) -> str:
    """GitLab's slug: 24 characters at most, with a hash where something was lost."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if plain == name and len(plain) <= SLUG_LENGTH:
        return plain
    return f"{plain[: SLUG_LENGTH - 7].rstrip('-')}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def _tier(call: Call, name: str) -> str:
    if call.text("tier"):
        if call.text("tier") not in TIERS:
            raise invalid("tier")
        return call.text("tier")
    guesses = {
        "production": r"prod|live",
        "staging": r"stag|model|pre|demo|non",
        "testing": r"test|qc",
        "development": r"dev|review|trunk",
    }
    return next((t for t, p in guesses.items() if re.search(p, name, re.IGNORECASE)), "other")


# --- deployments ---


def list_all(call: Call) -> Reply:
    project = call.project
    require_level(project, call.caller, REPORTER)
    if call.text("status") and call.text("status") not in LISTED:
        raise invalid("status")
    order = call.text("order_by", "id")
    if order not in {"id", "iid", "created_at", "updated_at", "finished_at", "ref"}:
        raise invalid("order_by")
    wanted = _named(call, project, call.text("environment"))
    found = [
        d
        for d in call.instance.state.deployments
        if d.project_id == project.id
        and (not call.text("environment") or (wanted and d.environment_id == wanted.id))
        and call.text("status") in {"", d.status}
        and (not call.text("updated_after") or d.updated_at >= call.text("updated_after"))
        and (not call.text("updated_before") or d.updated_at <= call.text("updated_before"))
    ]
    found.sort(
        key=lambda d: (getattr(d, order) or "", d.id), reverse=call.text("sort", "asc") == "desc"
    )
    return call.page(found, lambda d: entities_change.deployment(call.instance, d))


def _state(call: Call) -> str:
    state = str(call.required("status"))
    if state not in STATES:
        raise invalid("status")
    return state


def create(call: Call) -> Reply:
    """Create a deployment, and its environment where the name is new."""
    project = call.project
    require_level(project, call.caller, DEVELOPER)
    name, sha, ref = (str(call.required(n)) for n in ("environment", "sha", "ref"))
    call.required("tag")
    state = _state(call)
    repository = call.instance.repository(project)
    if repository.find(sha) is None:
        raise Refusal(400, "bad sha", {"message": {"sha": ["The commit does not exist"]}})
    if repository.find(ref) is None:
        raise Refusal(400, "bad ref", {"message": {"ref": ["The branch or tag does not exist"]}})
    place = _named(call, project, name) or _make_environment(call, project, name)
    made = Deployment(
        id=call.instance.state.next_id("deployment"),
        iid=sum(d.project_id == project.id for d in call.instance.state.deployments) + 1,
        project_id=project.id,
        environment_id=place.id,
        ref=ref,
        sha=repository.find(sha) or sha,
        tag=bool(call.flag("tag")),
        status=state,
        user_id=call.caller.user.id,
        finished_at=None if state == "running" else now(),
    )
    call.instance.state.deployments.append(made)
    return answer(_extended(call, made), 201)


def _extended(call: Call, deployment: Deployment) -> dict[str, object]:
    extra = {"pending_approval_count": 0}
    return entities_change.deployment(call.instance, deployment) | extra


def _deployment(call: Call) -> Deployment:
    project = call.project
    require_level(project, call.caller, REPORTER)
    for known in call.instance.state.deployments:
        if known.project_id == project.id and str(known.id) == call.names["deployment_id"]:
            return known
    raise not_found("Deployment")


def get(call: Call) -> Reply:
    return answer(_extended(call, _deployment(call)))


def update(call: Call) -> Reply:
    """Move a deployment on; a finished one only between finished states, repeating one is a 400."""
    known = _deployment(call)
    require_level(call.project, call.caller, DEVELOPER)
    state = _state(call)
    if state == known.status or (state == "running" and known.finished_at is not None):
        raise bad_request(f"Cannot transition status via :{state} from :{known.status}")
    known.status, known.updated_at = state, now()
    known.finished_at = None if state == "running" else known.updated_at
    return answer(_extended(call, known))


def merge_requests(call: Call) -> Reply:
    known = _deployment(call)
    found = entities_change.deployed_merge_requests(call.instance, call.project, known)
    return call.page(
        found, lambda m: entities_change.merge_request_basic(call.instance, call.merging, m)
    )
