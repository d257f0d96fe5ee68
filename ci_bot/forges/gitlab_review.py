"""The gate's facts from GitLab: who approved when, who may merge, who had a hand in the change.

GitLab's Free tier keeps approvals over a push, so an approval is placed in time against the versions of the merge
request. Whatever cannot be read is UNKNOWN.
"""

import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from ci_bot.core.facts import UNKNOWN, Approval, MergeRequest, Review, UnknownType, User
from ci_bot.errors import ForgeAuthError, ForgeForbiddenError, ForgeNotFoundError
from ci_bot.forges.gitlab_facts import to_instant, to_merge_request, to_user

Json = Mapping[str, Any]
NO_ONE, DEVELOPER = 0, 30
CHANGES_WANTED = "requested_changes"
_ADDED = re.compile(r"added \d+ commits?\b")
_APPROVED = "approved this merge request"
_CO_AUTHOR = re.compile(r"(?im)^co-authored-by:[^<\n]*<([^>\s]+)>")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Material:
    """Everything about one merge request, as GitLab gave it."""

    merge_request: MergeRequest
    notes: Sequence[Json]
    members: Mapping[str, Json] | UnknownType  # by user id
    merge_level: int | UnknownType


class ReviewReader:
    """Reads reviews of one project. `project` is python-gitlab's lazy project."""

    def __init__(self, client: Any, project: Any, own_ids: frozenset[str]) -> None:
        self._client = client
        # The forge's own private addresses say whose they are; a search does not find them.
        host = re.escape((urlsplit(client.url).hostname or "").lower())
        self._no_reply = re.compile(rf"(?P<id>\d+)-[^@\s]+@users\.noreply\.{host}")
        self._project = project
        self._own_ids = own_ids

    def read(self, number: int) -> Review:
        """Return the gate's facts of one merge request; the merge request itself is read last.

        A push in between then shows as a head that no version read before has, and the gate stays closed.
        """
        handle = self._project.mergerequests.get(number, lazy=True)
        approvals = self._find_approvals(handle)
        versions = [v.attributes for v in handle.diffs.list(get_all=True)]
        notes = [n.attributes for n in handle.notes.list(get_all=True, sort="asc")]
        commits = [c.attributes for c in handle.commits()]
        merge_request = to_merge_request(self._project.mergerequests.get(number).attributes)
        material = _Material(
            merge_request=merge_request,
            notes=notes,
            members=self._find_members(),
            merge_level=self._find_merge_level(merge_request.target_branch),
        )
        people, unmapped = self._map_emails(commits)
        excluded = {merge_request.author.id, *people, *_list_pushers(notes), *self._own_ids}
        return Review(
            merge_request=merge_request,
            head_pushed_at=_find_pushed_at(versions, merge_request.head_sha),
            approvals=UNKNOWN
            if approvals is None
            else tuple(_to_approval(each, material) for each in approvals),
            vetoes=self._find_vetoes(handle),
            excluded=frozenset(excluded),
            unmapped_emails=tuple(sorted(unmapped)),
        )

    def _find_approvals(self, handle: Any) -> Sequence[Json] | None:
        try:
            given = handle.approvals.get().attributes.get("approved_by")
        except (ForgeAuthError, ForgeNotFoundError):
            return None
        return given if isinstance(given, list) else None

    def _find_members(self) -> Mapping[str, Json] | UnknownType:
        try:
            found = self._project.members_all.list(get_all=True)
        except (ForgeAuthError, ForgeNotFoundError):
            return UNKNOWN
        return {str(each.id): each.attributes for each in found}

    def _find_merge_level(self, branch: str) -> int | UnknownType:
        """Return the least role that may merge into `branch`; `NO_ONE` where nobody may.

        Rules may be wildcards, so all are read; as on GitLab, the most permissive of those that match decides.
        """
        try:
            listed = self._project.protectedbranches.list(get_all=True)
        except (ForgeAuthError, ForgeNotFoundError):
            return UNKNOWN
        rules = [each.attributes for each in listed if _is_matching(branch, each.name)]
        if not rules:
            # An unprotected branch: whoever may push may merge, and that is a Developer.
            return DEVELOPER
        levels = [
            level["access_level"]
            for rule in rules
            for level in rule["merge_access_levels"]
            if level.get("user_id") is None and level.get("group_id") is None
        ]
        granted = [level for level in levels if level != NO_ONE]
        return min(granted) if granted else NO_ONE

    def _find_vetoes(self, handle: Any) -> tuple[User, ...] | UnknownType:
        """Return the reviewers whose last word is that changes are needed."""
        try:
            listed = handle.reviewer_details.list(get_all=True)
        except ForgeForbiddenError:
            return UNKNOWN
        except ForgeNotFoundError:
            # The merge request is there (it has just been read): this GitLab has no such reviews.
            return ()
        return tuple(
            to_user(each.attributes.get("user")) for each in listed if each.state == CHANGES_WANTED
        )

    def _map_emails(self, commits: Iterable[Json]) -> tuple[set[str], set[str]]:
        """Return the user ids behind the commits, and the addresses that belong to nobody."""
        emails = {email.lower() for commit in commits for email in _list_emails(commit)}
        people, unmapped = set(), set()
        for email in emails:
            if (own := self._no_reply.fullmatch(email)) is not None:
                people.add(own["id"])
                continue
            found = self._client.users.list(search=email, get_all=True)
            if found:
                people |= {str(user.id) for user in found}
            else:
                unmapped.add(email)
        return people, unmapped


def _list_emails(commit: Json) -> list[str]:
    co_authors = _CO_AUTHOR.findall(commit.get("message") or "")
    return [commit["author_email"], commit["committer_email"], *co_authors]


def _list_pushers(notes: Iterable[Json]) -> set[str]:
    return {
        str(note["author"]["id"])
        for note in notes
        if note["system"] and note.get("author") and _ADDED.match(note["body"])
    }


def _find_pushed_at(versions: Sequence[Json], head_sha: str) -> datetime | UnknownType:
    """Return when the newest version came to be, where it is this head's.

    A push back to an old head is a new version. Until GitLab has recorded it, an older version has that head too, and
    its time would revive approvals from before.
    """
    if not head_sha or not versions:
        return UNKNOWN
    newest = max(versions, key=lambda version: int(version["id"]))
    if newest.get("head_commit_sha") != head_sha:
        return UNKNOWN
    return to_instant(newest.get("created_at")) or UNKNOWN


def _is_matching(branch: str, rule: str) -> bool:
    """Match as GitLab does: `*` is any text, everything else is itself."""
    return fnmatch.fnmatchcase(branch, rule.replace("[", "[[]").replace("?", "[?]"))


def _to_approval(given: Json, material: _Material) -> Approval:
    data = given.get("user")
    user = to_user(data)
    return Approval(
        user=user,
        at=to_instant(given.get("approved_at")) or _find_approved_at(user, material.notes),
        can_merge=_can_merge(user, material),
        active=data is not None and data.get("state", "active") == "active",
    )


def _find_approved_at(user: User, notes: Iterable[Json]) -> datetime | UnknownType:
    times = [
        at
        for note in notes
        if note["system"] and note["body"].startswith(_APPROVED)
        if str((note.get("author") or {}).get("id")) == user.id
        if (at := to_instant(note.get("created_at"))) is not None
    ]
    return max(times) if times else UNKNOWN


def _can_merge(user: User, material: _Material) -> bool | UnknownType:
    if material.members is UNKNOWN or material.merge_level is UNKNOWN:
        return UNKNOWN
    member = material.members.get(user.id)
    if member is None or member.get("state", "active") != "active":
        return False
    return material.merge_level != NO_ONE and member["access_level"] >= material.merge_level
