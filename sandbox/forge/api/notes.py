"""Comments on a merge request, the system's among them."""

from sandbox.forge import entities_change
from sandbox.forge.access import level
from sandbox.forge.model import MAINTAINER, Note
from sandbox.forge.refusal import Refusal, forbidden, not_found
from sandbox.forge.wire import MOST_BODY, Call, Reply, Routes, answer

ROOT = "/projects/:id/merge_requests/:iid/notes"


def register(routes: Routes) -> None:
    routes.add("GET", ROOT)(list_all)
    routes.add("POST", ROOT)(create)
    routes.add("GET", f"{ROOT}/:note_id")(get)
    routes.add("PUT", f"{ROOT}/:note_id")(update)
    routes.add("DELETE", f"{ROOT}/:note_id")(delete)


def list_all(call: Call) -> Reply:
    request = call.merge_request
    newest_first = call.text("sort", "desc") != "asc"
    order = "updated_at" if call.text("order_by") == "updated_at" else "created_at"
    found = sorted(
        call.instance.notes(request), key=lambda n: (getattr(n, order), n.id), reverse=newest_first
    )
    match call.text("activity_filter", "all_notes"):
        case "only_comments":
            found = [n for n in found if not n.system]
        case "only_activity":
            found = [n for n in found if n.system]
    return call.page(found, lambda n: entities_change.note(call.instance, request, n))


def _body(call: Call) -> str:
    body = str(call.required("body"))
    if len(body) > MOST_BODY:
        raise Refusal(400, "Note is too long (maximum is 1000000 characters)")
    return body


def create(call: Call) -> Reply:
    request = call.merge_request
    note = call.lifecycle.note(request, call.caller.user, _body(call))
    return answer(entities_change.note(call.instance, request, note), 201)


def _note(call: Call) -> Note:
    for note in call.instance.notes(call.merge_request):
        if str(note.id) == call.names["note_id"]:
            return note
    raise not_found("Note")


def get(call: Call) -> Reply:
    return answer(entities_change.note(call.instance, call.merge_request, _note(call)))


def _owned(call: Call) -> Note:
    """A note is its author's; a maintainer may edit or remove a person's, nobody the system's."""
    note, user = _note(call), call.caller.user
    if note.system or (note.author_id != user.id and level(call.project, user) < MAINTAINER):
        raise forbidden()
    return note


def update(call: Call) -> Reply:
    request, note = call.merge_request, _owned(call)
    call.lifecycle.edit_note(request, call.caller.user, note, _body(call))
    return answer(entities_change.note(call.instance, request, note))


def delete(call: Call) -> Reply:
    call.instance.state.notes.remove(_owned(call))
    return Reply(status=204)
