"""python-gitlab, bounded: every exchange ends, nothing is followed elsewhere, and one error type leaves.

The library itself waits as long as a server asks, crashes on a Retry-After that is a date, follows redirects with the
token in a header, and reads a body for as long as it trickles. So waiting, retrying and reading are done here, below
and around it, without changing it.
"""

import contextlib
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import gitlab
import requests
from urllib3.exceptions import HTTPError, ReadTimeoutError

from ci_bot.errors import (
    ForgeAuthError,
    ForgeError,
    ForgeForbiddenError,
    ForgeNotFoundError,
    ForgeTimeoutError,
    ForgeUnavailableError,
)

T = TypeVar("T")
CHUNK_BYTES = 64 * 1024
MAX_BODY_BYTES = 50 * 1024 * 1024
EXCHANGE_FACTOR = 3  # a whole exchange may take this many times the wait between two bytes
WAIT_BUDGET_S = 30.0  # all waits of one call together
DEFAULT_RETRY_AFTER_S = 60.0
READ_ATTEMPTS = 3
SLOW_DOWN = frozenset({429, 503})


class GuardedSession(requests.Session):
    """A session that reads a body against a deadline and follows no redirect."""

    def __init__(self, timeout_s: float) -> None:
        super().__init__()
        self._timeout_s = timeout_s
        # The hub's threads share a session; one must not read what another's answer asked for.
        self._asked = threading.local()

    @property
    def retry_after_s(self) -> float | None:
        """The wait that this thread's last answer asked for."""
        asked: float | None = getattr(self._asked, "seconds", None)
        return asked

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send one request; raises Timeout, or ForgeError where the answer is not from a forge's API."""
        deadline = time.monotonic() + EXCHANGE_FACTOR * self._timeout_s
        options.update(stream=True, allow_redirects=False)
        answer = super().send(request, **options)
        # requests has no deadline for a whole body; the content it would read lazily is read here instead.
        try:
            answer._content = _read_body(answer, deadline)  # noqa: SLF001
        except ReadTimeoutError as err:
            raise requests.ReadTimeout("the answer stopped") from err
        except HTTPError as err:
            # Cut short or not decodable: below requests, these are the transport's own errors.
            raise requests.ConnectionError("the answer broke off") from err
        self._asked.seconds = parse_retry_after(answer.headers, datetime.now(UTC))
        _check_answer(answer)
        return answer


def _read_body(answer: requests.Response, deadline: float) -> bytes:
    parts, size = [], 0
    with contextlib.closing(answer):
        while part := answer.raw.read1(CHUNK_BYTES, decode_content=True):
            size += len(part)
            parts.append(part)
            if size > MAX_BODY_BYTES:
                raise ForgeError("the forge's answer is larger than 50 MB")
            if time.monotonic() > deadline:
                raise requests.Timeout("the answer trickles")
    return b"".join(parts)


def _check_answer(answer: requests.Response) -> None:
    if answer.is_redirect or 300 <= answer.status_code < 400:
        target = answer.headers.get("Location", "")[:200]
        raise ForgeError(
            f"the forge redirects to {target}; its token is not sent there",
            hint="Give the address it redirects to as the forge's URL.",
        )
    kind = answer.headers.get("Content-Type", "")
    has_body = bool(answer.content)
    if answer.ok and has_body and not kind.startswith("application/json"):
        raise ForgeUnavailableError(
            f"the forge answered with {kind.partition(';')[0] or 'no content type'} instead of JSON",
            hint="Is there a login page or a proxy between here and its API?",
        )


def parse_retry_after(headers: Any, now: datetime) -> float | None:
    """Return the seconds a server asks to wait, as number or HTTP date; None where it asks for nothing."""
    text = headers.get("Retry-After", "").strip()
    if text:
        if text.isdigit():
            return float(text)
        try:
            return max(0.0, (parsedate_to_datetime(text) - now).total_seconds())
        except (TypeError, ValueError):
            return None
    reset = headers.get("RateLimit-Reset", "")
    if headers.get("RateLimit-Remaining") == "0" and reset.isdigit():
        return max(0.0, float(reset) - now.timestamp())
    return None


class GuardedGitlab(gitlab.Gitlab):
    """The library's client with our waiting and our errors around each request."""

    def __init__(self, url: str, token: str, *, ca_file: str, timeout_s: float) -> None:
        self.guarded_session = GuardedSession(timeout_s)
        super().__init__(
            url,
            private_token=token,
            ssl_verify=ca_file or True,
            timeout=timeout_s,
            session=self.guarded_session,
            per_page=100,
            retry_transient_errors=False,
        )
        self._not_before = 0.0

    def http_request(self, verb: str, path: str, *args: Any, **kwargs: Any) -> requests.Response:
        """Make one request within a budget of waiting. Raises ForgeError only.

        A 429 was not carried out and may be sent again; any other failure repeats only what reads.
        """
        kwargs.update(obey_rate_limit=False, retry_transient_errors=False)
        budget_s, attempt = WAIT_BUDGET_S, 0
        while True:
            attempt += 1
            budget_s = self._wait_until_allowed(budget_s)
            try:
                return super().http_request(verb, path, *args, **kwargs)
            except gitlab.GitlabError as err:
                delay_s = self._find_delay(err, verb, attempt)
                if delay_s is None or delay_s > budget_s:
                    raise translate(err, self.guarded_session.retry_after_s) from err
            except requests.RequestException as err:
                delay_s = 0.5 * attempt
                if verb != "get" or attempt >= READ_ATTEMPTS or delay_s > budget_s:
                    raise _translate_transport(err) from err
            self._not_before = max(self._not_before, time.monotonic() + delay_s)

    def _wait_until_allowed(self, budget_s: float) -> float:
        """Wait for the time the forge named, or refuse where that is beyond the budget; return what is left."""
        wait_s = self._not_before - time.monotonic()
        if wait_s <= 0:
            return budget_s
        if wait_s > budget_s:
            raise ForgeUnavailableError("the forge asked to slow down", retry_after_s=wait_s)
        time.sleep(wait_s)
        return budget_s - wait_s

    def _find_delay(self, err: gitlab.GitlabError, verb: str, attempt: int) -> float | None:
        """Return how long to wait before a repetition, or None where there must be none."""
        code, asked_s = err.response_code, self.guarded_session.retry_after_s
        if code == 429 or (code in SLOW_DOWN and asked_s is not None):
            delay_s = DEFAULT_RETRY_AFTER_S if asked_s is None else asked_s
            # Whoever asks next, for whatever, waits as well.
            self._not_before = max(self._not_before, time.monotonic() + delay_s)
            return delay_s if code == 429 or verb == "get" else None
        transient = code is not None and code >= 500
        if transient and verb == "get" and attempt < READ_ATTEMPTS:
            return 0.5 * attempt
        return None


def translate(err: gitlab.GitlabError, retry_after_s: float | None = None) -> ForgeError:
    """Return our error for the library's."""
    code, said = err.response_code, _shorten(err.error_message)
    if code == 401:
        return ForgeAuthError(
            f"the forge does not accept the token: {said}",
            hint="Is it expired or revoked? Make a new one with scope api.",
        )
    if code == 403:
        return _translate_forbidden(said)
    if code == 404:
        return ForgeNotFoundError(
            f"not found: {said}",
            hint="Is the project's path right, and may the token's user see it?",
        )
    if code in SLOW_DOWN or (code is not None and code >= 500):
        delay_s = (
            retry_after_s if code != 429 or retry_after_s is not None else DEFAULT_RETRY_AFTER_S
        )
        return ForgeUnavailableError(f"the forge answered {code}: {said}", retry_after_s=delay_s)
    if code is None:
        return ForgeUnavailableError(f"the forge's answer makes no sense: {said}")
    return ForgeError(f"the forge refused ({code}): {said}")


def _translate_forbidden(said: str) -> ForgeAuthError:
    if "insufficient_scope" in said:
        return ForgeAuthError(
            f"the token lacks a scope: {said}", hint="Make a new one with scope api."
        )
    return ForgeForbiddenError(
        f"the token may not do this: {said}",
        hint="It needs scope api and the role Developer in the project.",
    )


def _translate_transport(err: requests.RequestException) -> ForgeError:
    if isinstance(err, requests.exceptions.SSLError):
        return ForgeUnavailableError(
            "the forge's certificate is not trusted", hint="Give its CA with --ca-file."
        )
    if isinstance(err, requests.Timeout):
        return ForgeTimeoutError("the forge did not answer in time")
    return ForgeTimeoutError("the connection to the forge failed or broke off")


def _shorten(text: object) -> str:
    said = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
    return " ".join(said.split())[:256]


@contextlib.contextmanager
def border() -> Any:
    """Let only our errors cross: what the library raises above the request (parsing) is translated too."""
    try:
        yield
    except ForgeError:
        raise
    except gitlab.GitlabError as err:
        raise translate(err) from err
    except requests.RequestException as err:
        raise _translate_transport(err) from err
    except (AttributeError, KeyError, TypeError, ValueError, AssertionError) as err:
        # A null or missing field, or a body cut short: the library trusts what it gets.
        raise ForgeUnavailableError(
            f"the forge's answer makes no sense ({type(err).__name__})"
        ) from err


def within_border(method: Callable[..., T]) -> Callable[..., T]:
    """Decorate a method of an adapter with `border`."""

    def call(*args: Any, **kwargs: Any) -> T:
        with border():
            return method(*args, **kwargs)

    call.__name__, call.__doc__ = method.__name__, method.__doc__
    return call
