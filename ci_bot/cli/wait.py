"""`lockgate wait`."""

import re
import time
from typing import Any

import click

from ci_bot.cli.options import CommonOptions, forge_options, make_forge
from ci_bot.cli.output import emit, note
from ci_bot.errors import DONE, FAILED, REFUSED, TIMED_OUT, WAITING, UsageError
from ci_bot.workflows.wait import Clock, Ending, Until, Waited, Waiter, WaitRequest

EXIT_CODES = {
    Ending.MERGED: DONE,
    Ending.LIVE: DONE,
    Ending.DEGRADED: FAILED,
    Ending.UNMAPPED: FAILED,
    Ending.NOT_MERGED_IN_TIME: WAITING,
    Ending.CLOSED: REFUSED,
    Ending.NOT_LIVE_IN_TIME: TIMED_OUT,
}
WORDS = {
    Ending.MERGED: "is merged as {sha}",
    Ending.LIVE: "is live as {sha}",
    Ending.DEGRADED: "is degraded at {sha}; the merge request's comment says why",
    Ending.UNMAPPED: "landed as {sha}, and no Application is mapped to what it changes",
    Ending.NOT_MERGED_IN_TIME: "was not merged in time",
    Ending.CLOSED: "was closed",
    Ending.NOT_LIVE_IN_TIME: "was not live in time at {sha}",
}
UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}


class Span(click.ParamType[float]):
    """A time span: `90`, `90s`, `15m`, `2h`."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return seconds."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", str(value))
        if match is None:
            self.fail(f"{value!r} is no time span; write 90s, 15m or 2h", param, ctx)
        return float(match[1]) * UNITS[match[2]]


@click.command("wait")
@click.option("--mr", "number", type=click.IntRange(min=1), help="Merge request to wait for.")
@click.option("--sha", default="", help="Landed commit to wait for, instead of --mr.")
@click.option(
    "--until", type=click.Choice([each.value for each in Until]), default="live", show_default=True
)
@click.option("--timeout", type=Span(), default="15m", show_default=True, help="How long at most.")
@forge_options
@click.pass_context
def command(context: click.Context, /, options: CommonOptions, **asked: Any) -> None:
    """Wait until a merge request is merged or live everywhere, and say how it ended.

    Only the word of a reporter named in .lockgate.yaml counts. Exit code: 0 merged or live, 1 degraded or mapped
    to nothing, 3 not merged in time, 4 closed, 5 not live in time.
    """
    number, sha = asked["number"], asked["sha"]
    if bool(number) == bool(sha):
        raise UsageError("give --mr or --sha, one of them")
    if sha and not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", sha):
        raise UsageError(f"--sha {sha[:70]!r} is not a full commit id")
    forge = make_forge(options)
    request = WaitRequest(
        number=number or 0, sha=sha, until=Until(asked["until"]), timeout_s=asked["timeout"]
    )
    clock = Clock(now_s=time.monotonic, sleep_s=time.sleep)
    waited = Waiter(forge, request, clock, note).wait()
    name = f"{forge.sigil}{number}" if number else sha[:8]
    text = f"{name} {WORDS[waited.ending].format(sha=waited.landed_sha[:8])}"
    emit(_contract(waited), text, options.output)
    context.exit(EXIT_CODES[waited.ending])


def _contract(waited: Waited) -> dict[str, Any]:
    reading = waited.reading
    found = () if reading is None else (*reading.rollups, *reading.places)
    return {
        "outcome": waited.ending.value,
        "merge_request": waited.merge_request.number if waited.merge_request else None,
        "landed_sha": waited.landed_sha,
        "deployments": [
            {"environment": each.environment, "state": each.state.value} for each in found
        ],
    }
