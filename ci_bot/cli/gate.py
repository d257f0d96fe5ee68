"""`lockgate gate`."""

from typing import Any

import click

from ci_bot.cli.options import CommonOptions, forge_options, make_forge
from ci_bot.cli.output import emit, patience
from ci_bot.core.gate import Verdict, VerdictKind
from ci_bot.errors import DONE, REFUSED, WAITING

EXIT_CODES = {
    VerdictKind.MERGE: DONE,
    VerdictKind.WAIT: WAITING,
    VerdictKind.REFUSE: REFUSED,
}
WORDS = {
    VerdictKind.MERGE: "may merge",
    VerdictKind.WAIT: "waits",
    VerdictKind.REFUSE: "is refused",
}


@click.command("gate")
@click.option("--mr", "number", type=click.IntRange(min=1), required=True, help="Merge request.")
@forge_options
@click.pass_context
def command(context: click.Context, options: CommonOptions, number: int) -> None:
    """Say whether a merge request may merge now, with every reason.

    Policy is read from .lockgate.yaml on the target branch. Exit code: 0 may merge, 3 waits, 4 is refused.
    """
    from ci_bot.workflows.gate import judge

    forge = make_forge(options)
    with patience(f"judging {forge.sigil}{number}"):
        verdict = judge(forge, number).verdict
    emit(
        {"merge_request": number, **verdict_contract(verdict)},
        f"{forge.sigil}{number} {describe_verdict(verdict)}",
        options.output,
    )
    context.exit(EXIT_CODES[verdict.kind])


def verdict_contract(verdict: Verdict) -> dict[str, Any]:
    """Return the documented JSON of a verdict."""
    return {
        "verdict": verdict.kind.value,
        "head_sha": verdict.head_sha,
        "requirements": [
            {"name": r.name, "met": r.met, "text": r.text} for r in verdict.requirements
        ],
    }


def describe_verdict(verdict: Verdict) -> str:
    """Return the verdict with one line for each requirement."""
    lines = [f"  {'✓' if r.met else '✗'} {r.text}" for r in verdict.requirements]
    return "\n".join([f"{WORDS[verdict.kind]} at {verdict.head_sha[:8]}", *lines])
