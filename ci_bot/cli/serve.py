"""`lockgate serve`: the hub."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import click


@click.command("serve")
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    required=True,
    envvar="LOCKGATE_HUB_CONFIG",
    help="The hub's configuration, a TOML file.",
)
@click.option(
    "--insecure-loopback",
    is_flag=True,
    help="Accept agents without TLS, on a loopback address only.",
)
def command(config_file: Path, insecure_loopback: bool) -> None:
    """Run the hub: webhooks, agents, and everything said on merge requests."""
    # gRPC's fork handlers would stall git and other child processes.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    from ci_bot import logs
    from ci_bot.hub.app import Hub
    from ci_bot.hub.config import load_config

    logs.configure(level=os.environ.get("LOCKGATE_LOG_LEVEL", "INFO"))
    hub = Hub(load_config(config_file), insecure_loopback=insecure_loopback)
    with asyncio.Runner(loop_factory=_find_loop_factory()) as runner:
        runner.run(hub.run())


def _find_loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's loop where the platform has it."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
