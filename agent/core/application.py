"""An Application as the rest of the agent sees it: parsed, defaulted, and only what is supported.

`agent.api.application` makes these values out of the custom resource. Whatever cannot be expressed here was refused
there, with a message that names the field.
"""

from dataclasses import dataclass
from datetime import timedelta

from agent.core.objects import AppIdentity, ObjectKey


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryOptions:
    """Which files of a plain directory count; globs are Argo CD's (`{a,b}` alternatives, `*`, `?`)."""

    recurse: bool = False
    include: str = ""
    exclude: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationSource:
    repo_url: str
    path: str
    target_revision: str  # "HEAD" when the resource leaves it out
    directory: DirectoryOptions = DirectoryOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class Automated:
    """Auto-sync. `enabled: false` and an absent block both parse to None."""

    prune: bool = False
    self_heal: bool = False
    allow_empty: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    limit: int = 0  # -1 is unlimited
    duration: timedelta = timedelta(seconds=5)
    factor: int = 2
    max_duration: timedelta = timedelta(minutes=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncPolicy:
    automated: Automated | None = None
    create_namespace: bool = False
    retry: Retry | None = None
    # Options of the Application that hold for every object unless the object says otherwise.
    prune_disabled: bool = False
    fail_on_shared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationRequest:
    """A sync somebody asked for through the `operation` field."""

    revision: str = ""  # empty: the source's target revision
    prune: bool = False
    dry_run: bool = False
    resources: frozenset[ObjectKey] | None = None  # None: all
    retry: Retry | None = None
    initiated_by: str = ""
    automated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    identity: AppIdentity
    uid: str
    project: str
    source: ApplicationSource
    destination_namespace: str
    sync_policy: SyncPolicy = SyncPolicy()
    operation: OperationRequest | None = None
    refresh: str = ""  # "" | normal | hard
    skip_reconcile: bool = False
    deletion_approved: str = ""  # the annotation's RFC 3339 text
    deleting: bool = False
    spec_digest: str = ""  # D16: what triggers a reconcile, since status writes raise `generation`
    revision_history_limit: int = 10
