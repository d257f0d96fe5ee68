"""Who am I, who else is there, what is this project, and its webhooks."""

from typing import Any

from sandbox.forge import entities
from sandbox.forge.access import level, require_level
from sandbox.forge.model import MAINTAINER, Hook
from sandbox.forge.refusal import Refusal, forbidden, invalid, not_found, unauthorized
from sandbox.forge.wire import Call, Reply, Routes, answer

VERSION = {"version": "19.0.0-sandbox", "revision": "sandbox"}
ANY_SCOPE = {"api", "read_api", "read_repository", "write_repository"}


def register(routes: Routes) -> None:
    get, post, put, delete = (_adder(routes, m) for m in ("GET", "POST", "PUT", "DELETE"))
    get("/version", version)
    get("/metadata", version)
    get("/user", me)
    routes.add("GET", "/personal_access_tokens/self", scopes=ANY_SCOPE)(own_token)
    get("/users", users)
    get("/users/:user_id", user)
    get("/projects/:id", project)
    get("/projects/:id/members", members)
    get("/projects/:id/members/all", members)
    get("/projects/:id/members/:user_id", one_member)
    get("/projects/:id/members/all/:user_id", one_member)
    get("/projects/:id/hooks", hooks)
    post("/projects/:id/hooks", create_hook)
    get("/projects/:id/hooks/:hook_id", one_hook)
    put("/projects/:id/hooks/:hook_id", edit_hook)
    delete("/projects/:id/hooks/:hook_id", delete_hook)


def _adder(routes: Routes, method: str) -> Any:
    return lambda pattern, handler: routes.add(method, pattern)(handler)


def version(call: Call) -> Reply:
    return answer(VERSION | {"enterprise": False, "kas": _KAS})


_KAS = {"enabled": False, "externalUrl": None, "externalK8sProxyUrl": None, "version": None}


def me(call: Call) -> Reply:
    return answer(entities.user_public(call.instance, call.caller.user))


def own_token(call: Call) -> Reply:
    if call.caller.token is None:
        raise unauthorized()
    return answer(entities.token(call.caller.token))


def users(call: Call) -> Reply:
    """Find users by exact name, or search names and public emails (GitLab matches an email whole)."""
    username, search = call.text("username"), call.text("search").lower()
    found = [
        u
        for u in call.instance.state.users
        if username.lower() in {"", u.username.lower()}
        and (
            not search
            or search == u.email.lower()
            or ("@" not in search and (search in u.name.lower() or search in u.username.lower()))
        )
    ]
    return call.page(found, lambda u: entities.user_basic(call.instance, u))


def user(call: Call) -> Reply:
    for known in call.instance.state.users:
        if str(known.id) == call.names["user_id"]:
            return answer(entities.user_basic(call.instance, known))
    raise not_found("User")


def project(call: Call) -> Reply:
    return answer(entities.project(call.instance, call.project, call.caller.user))


def members(call: Call) -> Reply:
    project = call.project
    query = call.text("query").lower()
    found = [call.instance.user(i) for i in project.members]
    found = [u for u in found if query in u.name.lower() or query in u.username.lower()]
    return call.page(found, lambda u: entities.member(call.instance, project, u))


def one_member(call: Call) -> Reply:
    project = call.project
    for user_id in project.members:
        if str(user_id) == call.names["user_id"]:
            found = call.instance.user(user_id)
            return answer(entities.member(call.instance, project, found))
    raise not_found("Member")


# --- hooks: a maintainer's business ---


def hooks(call: Call) -> Reply:
    project = call.project
    require_level(project, call.caller, MAINTAINER)
    return call.page(
        [h for h in call.instance.state.hooks if h.project_id == project.id], entities.hook
    )


def create_hook(call: Call) -> Reply:
    project = call.project
    if level(project, call.caller.user) < MAINTAINER:
        raise forbidden()
    url = str(call.required("url"))
    if not url.startswith(("http://", "https://")):
        raise Refusal(422, "Invalid url given", {"error": "Invalid url given"})
    hook = Hook(
        id=call.instance.state.next_id("hook"),
        project_id=project.id,
        url=url,
        token=call.text("token"),
        events={"push_events": True},
    )
    _set_events(call, hook)
    call.instance.state.hooks.append(hook)
    return answer(entities.hook(hook), 201)


def _set_events(call: Call, hook: Hook) -> None:
    for event in entities.EVENTS:
        wanted = call.flag(event)
        if wanted is not None:
            hook.events[event] = wanted
    verify = call.flag("enable_ssl_verification")
    hook.enable_ssl_verification = hook.enable_ssl_verification if verify is None else verify
    hook.name = call.text("name", hook.name or "") or None
    hook.description = call.text("description", hook.description or "") or None


def _hook(call: Call) -> Hook:
    project = call.project
    require_level(project, call.caller, MAINTAINER)
    for hook in call.instance.state.hooks:
        if hook.project_id == project.id and str(hook.id) == call.names["hook_id"]:
            return hook
    raise not_found("Hook")


def one_hook(call: Call) -> Reply:
    return answer(entities.hook(_hook(call)))


def edit_hook(call: Call) -> Reply:
    hook = _hook(call)
    hook.url = call.text("url", hook.url)
    if not hook.url:
        raise invalid("url")
    hook.token = call.text("token", hook.token)
    _set_events(call, hook)
    return answer(entities.hook(hook))


def delete_hook(call: Call) -> Reply:
    call.instance.state.hooks.remove(_hook(call))
    return Reply(status=204)
