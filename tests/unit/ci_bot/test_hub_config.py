"""The hub's configuration file: what is wrong is named by file and field, before anything is opened."""

from pathlib import Path

import pytest

from ci_bot.errors import ConfigError
from ci_bot.hub.app import Hub
from ci_bot.hub.config import is_loopback, load_config, parse_address

HUB = """\
[hub]
database = "{0}/hub.db"
marker_secret_file = "{0}/marker"
"""
PROJECT = """
[[projects]]
url = "https://gitlab.example"
project = "group/config"
repositories = ["https://gitlab.example/group/config.git"]
token_file = "{0}/token"
webhook_secret_file = "{0}/secret"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("marker", "token", "secret"):
        (tmp_path / name).write_text(f"{name}-0123456789abcdef\n")
    return tmp_path


def write(folder: Path, text: str) -> Path:
    path = folder / "hub.toml"
    path.write_text(text.replace("{0}", str(folder)))
    return path


def test_a_whole_file_is_read_and_listens_on_loopback_by_default(folder: Path):
    """D5: metrics, and everything else, are this machine's unless somebody says otherwise."""
    config = load_config(write(folder, HUB + PROJECT))
    addresses = (config.hub.agents_listen, config.hub.web_listen, config.hub.metrics_listen)
    assert all(is_loopback(parse_address(each, "x")[0]) for each in addresses)
    assert config.hub.poll == 60


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (HUB, "projects"),
        (HUB + PROJECT + 'merge_tokn = "x"\n', r"projects\.0\.merge_tokn"),
        (HUB + "pol = 3\n" + PROJECT, r"hub\.pol"),
        (HUB + "poll = 0\n" + PROJECT, r"hub\.poll"),
        (HUB + 'poll = "soon"\n' + PROJECT, r"hub\.poll"),
        (HUB + PROJECT.replace('url = "https', 'url = "ftp'), r"projects\.0\.url"),
        (HUB + PROJECT + PROJECT, "listed twice"),
        (HUB + PROJECT.replace("webhook_secret_file", "# "), "webhook_secret_file is missing"),
        ("[hub\n", "not TOML"),
    ],
)
def test_a_mistake_is_named_with_its_field(folder: Path, text: str, named: str):
    """Nothing is guessed and nothing unknown is skipped."""
    path = write(folder, text)
    with pytest.raises(ConfigError, match=named) as caught:
        load_config(path)
    assert caught.value.message.startswith(str(path))


def test_a_file_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "hub.toml")


@pytest.mark.parametrize("name", ["marker", "token", "secret"])
@pytest.mark.parametrize("content", [None, "", " \n"])
def test_the_hub_does_not_start_without_one_of_its_secrets(
    folder: Path, name: str, content: str | None
):
    """W1: an empty webhook secret would accept everybody; an empty marker secret anybody's marker."""
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(content)
    config = load_config(write(folder, HUB + PROJECT))
    with pytest.raises(ConfigError, match=f"{folder / name}: the .* (is empty|cannot be read)"):
        Hub(config, insecure_loopback=True)


def test_webhooks_may_be_given_up_in_words(folder: Path):
    """The poller makes them optional; forgetting the secret does not."""
    text = HUB + PROJECT.replace('webhook_secret_file = "{0}/secret"', "webhooks = false")
    Hub(load_config(write(folder, text)), insecure_loopback=True)


def test_no_secret_is_in_what_can_be_printed(folder: Path):
    """A repr ends in a log sooner or later."""
    hub = Hub(load_config(write(folder, HUB + PROJECT)), insecure_loopback=True)
    said = repr(vars(hub)) + repr([repr(each) for each in hub._projects])
    assert "0123456789abcdef" not in said


def test_agents_without_tls_need_the_word_for_it(folder: Path):
    """Identity is another issue's; until then the flag says what is given up."""
    config = load_config(write(folder, HUB + PROJECT))
    with pytest.raises(ConfigError, match="TLS") as caught:
        Hub(config, insecure_loopback=False)
    assert "--insecure-loopback" in caught.value.hint


@pytest.mark.parametrize(
    "address", ["0.0.0.0:7443", "[::]:7443", "10.0.0.5:7443", "127.evil.example:7443", "hub:7443"]
)
def test_agents_without_tls_are_refused_from_other_machines(folder: Path, address: str):
    """A name that begins like a loopback address is none."""
    text = HUB + f'agents_listen = "{address}"\n' + PROJECT
    with pytest.raises(ConfigError, match=r"hub\.agents_listen"):
        Hub(load_config(write(folder, text)), insecure_loopback=True)


@pytest.mark.parametrize("text", ["", "7443", "host:", ":1", "host:port", "host:70000"])
def test_what_is_no_address_is_refused_with_its_field(text: str):
    with pytest.raises(ConfigError, match=r"hub\.web_listen"):
        parse_address(text, "web_listen")
