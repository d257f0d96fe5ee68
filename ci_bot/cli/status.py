"""`lockgate status`."""

from typing import Any

import click

from ci_bot.cli.gate import describe_verdict, verdict_contract
from ci_bot.cli.options import CommonOptions, forge_options, make_forge
from ci_bot.cli.output import emit, patience
from ci_bot.workflows.status import MergeRequestStatus, get_status


@click.command("status")
@click.option("--mr", "number", type=click.IntRange(min=1), required=True, help="Merge request.")
@forge_options
def command(options: CommonOptions, number: int) -> None:
    """Show a merge request's state: its gate while it is open, what became of it once it is merged."""
    forge = make_forge(options)
    with patience(f"reading {forge.sigil}{number}"):
        status = get_status(forge, number)
    emit(_contract(status), _describe(status, forge.sigil), options.output)


def _contract(status: MergeRequestStatus) -> dict[str, Any]:
    merge_request = status.merge_request
    return {
        "merge_request": merge_request.number,
        "title": merge_request.title,
        "url": merge_request.web_url,
        "state": merge_request.state.value,
        "head_sha": merge_request.head_sha,
        "landed_sha": merge_request.landed_sha,
        "gate": None if status.verdict is None else verdict_contract(status.verdict),
        "deployments": [
            {
                "environment": each.environment,
                "state": each.state.value,
                "by": each.creator.username,
                "updated_at": each.updated_at.isoformat() if each.updated_at else None,
            }
            for each in status.deployments
        ],
    }


def _describe(status: MergeRequestStatus, sigil: str) -> str:
    merge_request = status.merge_request
    landed = f" as {merge_request.landed_sha[:8]}" if merge_request.landed_sha else ""
    lines = [
        f"{sigil}{merge_request.number} {merge_request.title}",
        merge_request.web_url,
        f"{merge_request.state.value}{landed}",
    ]
    if status.verdict is not None:
        lines.append(describe_verdict(status.verdict))
    width = max((len(each.environment) for each in status.deployments), default=0)
    lines += [
        f"  {each.environment:{width}}  {each.state.value}  by {each.creator.username}"
        for each in status.deployments
    ]
    return "\n".join(lines)
