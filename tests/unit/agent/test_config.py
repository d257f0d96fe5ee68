"""Every wrong option is one clear error that names it; a right set is one frozen value."""

from pathlib import Path

import pytest

from agent.config import RawOptions, Settings, read_settings
from agent.errors import ConfigError


def read(**options) -> Settings:
    return read_settings(RawOptions(**{"cluster": "dev", **options}), {"HOME": "/home/x"})


def test_defaults_need_only_a_name(tmp_path):
    settings = read()
    assert (settings.cluster, settings.hub, settings.poll_s) == ("dev", "", 180.0)
    assert settings.namespaces == ("argocd",)
    assert settings.metrics == ("127.0.0.1", 0)
    assert settings.cache_dir == Path("/home/x/.cache/lockgate-agent")


@pytest.mark.parametrize("hub", ["127.0.0.1:7443", "localhost:7443", "[::1]:7443", "127.9.9.9:1"])
def test_a_hub_on_this_machine_is_taken_with_the_flag(hub):
    assert read(hub=hub, insecure_loopback=True).hub == hub


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"cluster": ""}, "--cluster"),
        ({"cluster": "Prod/EU"}, "--cluster"),
        ({"hub": "127.0.0.1:7443"}, "--insecure-loopback|--hub"),
        ({"hub": "hub.example:7443", "insecure_loopback": True}, "--hub"),
        ({"hub": "10.0.0.1:7443", "insecure_loopback": True}, "--hub"),
        ({"hub": "0.0.0.0:7443", "insecure_loopback": True}, "--hub"),
        ({"hub": "127.0.0.1.evil.example:1", "insecure_loopback": True}, "--hub"),
        ({"hub": "127.0.0.1", "insecure_loopback": True}, "--hub"),
        ({"hub": "unix:/tmp/x", "insecure_loopback": True}, "--hub"),
        ({"insecure_loopback": True}, "--insecure-loopback"),
        ({"git_credential": "/nowhere"}, "--git-credential"),
        ({"ca_file": "/nowhere"}, "--ca-file"),
        ({"kubeconfig": "/nowhere"}, "--kubeconfig"),
        ({"poll": "often"}, "--poll"),
        ({"poll": "0s"}, "--poll"),
        ({"poll": "48h"}, "--poll"),
        ({"namespaces": ""}, "--namespaces"),
        ({"namespaces": "argocd,../x"}, "--namespaces"),
        ({"namespaces": "lockgate-system"}, "--namespaces"),
        ({"metrics_listen": "9090"}, "--metrics-listen"),
        ({"metrics_listen": "127.0.0.1:70000"}, "--metrics-listen"),
        ({"take_over": ("x",)}, "--take-over"),
    ],
)
def test_a_wrong_option_is_named(options, named):
    with pytest.raises(ConfigError, match=named):
        read(**options)


def test_lists_and_switches(tmp_path):
    settings = read(
        namespaces="argocd, team-a", metrics_listen="off", take_over=("argocd/a", "*"), poll="90s"
    )
    assert settings.namespaces == ("argocd", "team-a")
    assert settings.metrics is None
    assert settings.take_over == {"argocd/a", "*"}
    assert settings.poll_s == 90.0
