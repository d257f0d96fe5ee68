"""What the guarded client reads from headers and addresses, without a server."""

from datetime import UTC, datetime

import pytest

from ci_bot.errors import ForgeTimeoutError, ForgeUnavailableError, UsageError
from ci_bot.forges.gitlab import GitLabForge
from ci_bot.forges.gitlab_http import parse_retry_after, within_border
from ci_bot.forges.registry import ForgeSettings, open_forge

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
RESET = str(int(NOW.timestamp()) + 90)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "Tue, 24 Nov 2026 09:00:30 GMT"}, 30),
        ({"Retry-After": "Tue, 24 Nov 2026 08:00:00 GMT"}, 0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "Tue, 24 Nov 2026 09:00:30 -0000"}, None),
        ({"RateLimit-Remaining": "0", "RateLimit-Reset": RESET}, 90),
        ({"RateLimit-Remaining": "0", "RateLimit-Reset": "1"}, 0),
        ({"RateLimit-Remaining": "9", "RateLimit-Reset": RESET}, None),
        ({"RateLimit-Remaining": "0", "RateLimit-Reset": "later"}, None),
    ],
)
def test_the_time_a_server_names_is_read_in_every_form(
    headers: dict[str, str], seconds: float | None
):
    """F1: seconds, an HTTP date, a reset instant, nothing, nonsense."""
    assert parse_retry_after(headers, NOW) == seconds


@pytest.mark.parametrize(
    ("url", "api"),
    [
        ("https://gitlab.test", "https://gitlab.test/api/v4"),
        ("https://gitlab.test/", "https://gitlab.test/api/v4"),
        ("https://host.test/sub/gitlab", "https://host.test/sub/gitlab/api/v4"),
        ("https://host.test/sub/gitlab/api/v4", "https://host.test/sub/gitlab/api/v4"),
        ("https://host.test/sub/gitlab/api/v4/", "https://host.test/sub/gitlab/api/v4"),
    ],
)
def test_a_gitlab_under_a_sub_path_is_addressed_as_its_ci_names_it(url: str, api: str):
    """D6: CI_API_V4_URL and CI_SERVER_URL name the same forge."""
    forge = open_forge(ForgeSettings(url=url, project="group/config", token="t"))
    assert isinstance(forge, GitLabForge)
    assert forge._client.api_url == api


def test_the_token_is_in_no_representation_of_the_settings():
    settings = ForgeSettings(url="https://gitlab.test", project="g/c", token="glpat-canary")
    assert "canary" not in repr(settings)


def test_a_forge_nobody_wrote_an_adapter_for_is_named_with_those_there_are():
    with pytest.raises(UsageError, match="unknown forge 'svn'") as caught:
        open_forge(ForgeSettings(kind="svn", url="", project="g/c", token="t"))
    assert "gitlab" in caught.value.hint


@pytest.mark.parametrize("err", [KeyError("sha"), TypeError("null"), AttributeError("iid")])
def test_nonsense_from_the_forge_crosses_the_border_as_our_error(err: Exception):
    """F4: without what it said, which may hold anything."""

    @within_border
    def read() -> None:
        raise err

    with pytest.raises(ForgeUnavailableError, match=type(err).__name__):
        read()


def test_our_own_errors_cross_the_border_as_they_are():
    @within_border
    def read() -> None:
        raise ForgeTimeoutError("late")

    with pytest.raises(ForgeTimeoutError, match="late"):
        read()
