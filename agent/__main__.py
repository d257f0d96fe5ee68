"""The command line of the agent. Parses, calls, exits: 0 done, 1 failed, 2 usage or configuration."""

import os
import sys
from importlib import metadata
from typing import Any

import click

from agent.config import RawOptions, read_settings
from agent.errors import AgentError, ConfigError

_RUN_OPTIONS: list[click.Parameter] = [
    click.Option(
        ["--cluster"], default="", help="Name of this cluster, as people know it. Required."
    ),
    click.Option(
        ["--hub"], default="", metavar="HOST:PORT", help="The hub to report to; none: work alone."
    ),
    click.Option(
        ["--insecure-loopback"],
        is_flag=True,
        help="Speak to the hub without TLS; loopback addresses only.",
    ),
    click.Option(
        ["--kubeconfig"], default="", metavar="FILE", help="Default: the pod's ServiceAccount."
    ),
    click.Option(
        ["--namespaces"],
        default="argocd",
        show_default=True,
        help="Where Applications are looked for.",
    ),
    click.Option(
        ["--home-namespace"],
        default="lockgate-system",
        show_default=True,
        help="The agent's own namespace.",
    ),
    click.Option(
        ["--git-credential"],
        default="",
        metavar="FILE",
        help="Lines of https://user:token@host/group, read-only tokens.",
    ),
    click.Option(
        ["--ca-file"],
        default="",
        metavar="FILE",
        envvar=["LOCKGATE_AGENT_CA_FILE", "SSL_CERT_FILE"],
        help="CA certificates for git servers.",
    ),
    click.Option(
        ["--poll"], default="3m", show_default=True, help="How often git is asked without a hint."
    ),
    click.Option(["--cache-dir"], default="", metavar="DIR", help="Where git mirrors are kept."),
    click.Option(
        ["--metrics-listen"],
        default="127.0.0.1:0",
        show_default=True,
        metavar="HOST:PORT|off",
        help="Address of /metrics and /healthz.",
    ),
    click.Option(
        ["--take-over"],
        multiple=True,
        metavar="NAMESPACE/NAME|*",
        help="Take an Application over from another controller, once.",
    ),
]


@click.group(context_settings={"max_content_width": 100})
@click.version_option(
    package_name="lockgate", prog_name="lockgate-agent", message="%(prog)s %(version)s"
)
def cli() -> None:
    """Keep a cluster level with git."""


@cli.command(params=_RUN_OPTIONS, context_settings={"auto_envvar_prefix": "LOCKGATE_AGENT"})
def run(**options: Any) -> None:
    """Reconcile Applications until stopped.

    Every option can also be given as an environment variable: --git-credential as
    LOCKGATE_AGENT_GIT_CREDENTIAL, and so on.
    """
    settings = read_settings(RawOptions(**options), os.environ)
    from agent.main import run_agent

    sys.exit(run_agent(settings, version=metadata.version("lockgate")))


@cli.command()
@click.option(
    "--namespaces",
    default="argocd",
    show_default=True,
    help="Where Applications will be looked for.",
)
@click.option("--admin", is_flag=True, help="Argo CD's breadth of rights: everything.")
@click.option(
    "--argocd-repositories",
    is_flag=True,
    help="Also the right to read Argo CD's repository Secrets.",
)
@click.option(
    "--crds/--no-crds", default=True, help="Leave the Application CRDs out if Argo CD's are there."
)
def manifests(namespaces: str, *, admin: bool, argocd_repositories: bool, crds: bool) -> None:
    """Print what to `kubectl apply -f -` before an agent can run."""
    from agent.manifests import ManifestOptions, render_manifests

    options = ManifestOptions(
        namespaces=tuple(part for part in namespaces.replace(",", " ").split() if part),
        admin=admin,
        argocd_repositories=argocd_repositories,
        crds=crds,
    )
    click.echo(render_manifests(options), nl=False)


def main() -> None:
    """Run the command line; no traceback reaches a user."""
    try:
        cli(prog_name="lockgate-agent", standalone_mode=True)
    except AgentError as error:
        click.echo(f"error: {error}", err=True)
        if error.hint:
            click.echo(f"hint: {error.hint}", err=True)
        sys.exit(2 if isinstance(error, ConfigError) else 1)


if __name__ == "__main__":
    main()
