"""`make picture`: the merge request's page after the rollout, as docs/images/merge-request.png.

Plays the first four steps of the demo on real parts and takes the pictures in Chromium on the way.
"""

import sys
from pathlib import Path

from sandbox.controlplane.binaries import ensure_binaries
from sandbox.demo_people import People
from sandbox.demo_screen import Screen
from sandbox.demo_steps import APPLICATION, NAMESPACE, Story
from sandbox.demo_views import ClusterView, ForgeView
from sandbox.processes import SandboxError
from sandbox.screenshot import ScreenshotError, take
from sandbox.settings import PROJECT
from sandbox.stack import ROOT, Stack
from sandbox.workspace import Stopped, orderly_end, workspace

IMAGES = ROOT / "docs" / "images"


def main() -> int:
    screen = Screen()
    try:
        ensure_binaries()
        with orderly_end(), workspace("picture") as space, Stack(space.root) as stack:
            _play(stack, screen, IMAGES)
    except (SandboxError, ScreenshotError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except Stopped as stopped:
        return stopped.exit_code
    return 0


def _play(stack: Stack, screen: Screen, folder: Path) -> None:
    senior, junior = (ForgeView(stack.client(who), PROJECT) for who in ("senior", "junior"))
    story = Story(
        stack=stack,
        screen=screen,
        cluster=ClusterView(stack.plane, NAMESPACE, APPLICATION),
        forge=senior,
        people=People(screen, junior, senior, interactive=False),
    )
    try:
        story.apply_application()
        story.bump()
        screen.awaits(
            "the comment says what is missing",
            lambda: senior.require_comment(story.first, "0 of 1 approval"),
        )
        page = senior.merge_request(story.first).web_url
        _take(page, folder / "merge-request-waiting.png")
        story.approve_and_merge()
        story.roll_out()
        _take(page, folder / "merge-request.png")
    finally:
        if story.watch is not None:
            story.watch.close()


def _take(url: str, target: Path) -> None:
    take(url, target, width=1180, height=1240)
    print(target)


if __name__ == "__main__":
    sys.exit(main())
