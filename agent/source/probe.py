"""Finds out whether the agent's credential has more rights than it may: whether it can push.

Asked with `git push --dry-run`, which reads `info/refs?service=git-receive-pack` and sends nothing: the same binary,
certificates, proxies and deadlines as a fetch. The verdict is kept for a day; an unreachable probe keeps the last
one, and where there is none yet the repository waits.
"""

import re
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from agent.core.repositories import show
from agent.errors import SourceError, SourceRefusedError
from agent.source.credentials import Credential
from agent.source.mirror import Mirror
from agent.source.process import GitOptions, run_git

_VALID_FOR_S = 24 * 3600.0
_AGAIN_AFTER_S = 300.0  # after a probe that could not be answered while an older verdict stands
_REFUSED_BY_SERVER = re.compile(
    r"returned error: (401|403|404)|authentication failed|could not read (username|password)|"
    r"terminal prompts disabled|not allowed to push|access denied|repository '.*' not found",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Verdict:
    credential: Credential
    can_push: bool
    until_s: float


class PushProbe:
    """Remembers for each repository whether its credential can push. Thread-safe."""

    def __init__(
        self,
        options: GitOptions,
        *,
        deadline_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = options
        self._deadline_s = deadline_s
        self._clock = clock
        self._lock = threading.Lock()
        self._verdicts: dict[str, _Verdict] = {}

    def check(self, mirror: Mirror, credential: Credential, commit: str) -> None:
        """Raise `SourceRefusedError` if the credential can push, `SourceError` if that is not known yet."""
        key = mirror.repository.key
        with self._lock:
            known = self._verdicts.get(key)
        if known is not None and known.credential != credential:
            known = None
        if known is None or known.until_s <= self._clock():
            known = self._ask(mirror, credential, commit, known)
            with self._lock:
                self._verdicts[key] = known
        if known.can_push:
            raise SourceRefusedError(
                f"repository {show(mirror.repository.url)}: this credential can push",
                hint="give the agent a token that can only read (GitLab: read_repository; GitHub: contents read)",
            )

    def _ask(
        self, mirror: Mirror, credential: Credential, commit: str, known: _Verdict | None
    ) -> _Verdict:
        target = f"{commit}:refs/heads/lockgate-push-probe-{secrets.token_hex(4)}"
        arguments = ["push", "--dry-run", "--quiet", "--no-verify", "--end-of-options"]
        result = run_git(
            self._options,
            mirror.path,
            [*arguments, mirror.repository.url, target],
            deadline_s=self._deadline_s,
            credential=credential,
        )
        now = self._clock()
        if result.code == 0 or "[remote rejected]" in result.stderr:
            return _Verdict(credential=credential, can_push=True, until_s=now + _AGAIN_AFTER_S)
        if not result.timed_out and _REFUSED_BY_SERVER.search(result.stderr):
            return _Verdict(credential=credential, can_push=False, until_s=now + _VALID_FOR_S)
        if known is not None:
            return _Verdict(
                credential=credential, can_push=known.can_push, until_s=now + _AGAIN_AFTER_S
            )
        raise SourceError(
            f"repository {show(mirror.repository.url)}: could not find out whether the credential can push",
            hint="the agent only uses credentials that cannot; it is tried again",
        )
