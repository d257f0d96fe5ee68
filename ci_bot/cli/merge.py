"""`lockgate merge`."""

import click

from ci_bot.cli.gate import verdict_contract
from ci_bot.cli.options import CommonOptions, forge_options, make_forge
from ci_bot.cli.output import emit, patience
from ci_bot.core.facts import MergeResult
from ci_bot.errors import DONE, REFUSED, WAITING

EXIT_CODES = {
    MergeResult.MERGED: DONE,
    MergeResult.WAITING: WAITING,
    MergeResult.REFUSED: REFUSED,
}


@click.command("merge")
@click.option("--mr", "number", type=click.IntRange(min=1), required=True, help="Merge request.")
@forge_options
@click.pass_context
def command(context: click.Context, options: CommonOptions, number: int) -> None:
    """Merge a merge request if its gate is open, at exactly the head that was judged.

    A push in between makes the forge refuse. Exit code: 0 merged, 3 waits, 4 is refused.
    """
    from ci_bot.workflows.merge import merge

    forge = make_forge(options)
    with patience(f"merging {forge.sigil}{number}"):
        attempt = merge(forge, number)
    outcome = attempt.outcome
    landed = outcome.merge_request.landed_sha
    name = f"{forge.sigil}{number}"
    text = (
        f"{name} is merged as {landed[:8]}"
        if outcome.result is MergeResult.MERGED
        else f"{name} is not merged: {outcome.reason}"
    )
    answer = {
        "merge_request": number,
        "result": outcome.result.value,
        "landed_sha": landed,
        "reason": outcome.reason,
        "gate": None if attempt.verdict is None else verdict_contract(attempt.verdict),
    }
    emit(answer, text, options.output)
    context.exit(EXIT_CODES[outcome.result])
