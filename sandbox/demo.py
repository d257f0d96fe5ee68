"""`make demo`: the seed's story, from an image tag to a healthy rollout and back, on real parts.

With a terminal a person may click in the browser, and everything stays up until Ctrl-C. Without one it plays through
and exits 0. Either way nothing is left: no process, port or temporary file; only a failed step keeps its logs.
"""

import contextlib
import signal
import sys

from sandbox.controlplane.binaries import ensure_binaries
from sandbox.demo_people import People
from sandbox.demo_screen import Screen
from sandbox.demo_steps import APPLICATION, NAMESPACE, Story
from sandbox.demo_views import ClusterView, ForgeView
from sandbox.processes import SandboxError
from sandbox.settings import PROJECT
from sandbox.stack import Stack
from sandbox.workspace import Stopped, Workspace, orderly_end, workspace


def main() -> int:
    screen = Screen()
    screen.console.print("[bold]Lockgate: from an image tag to a healthy rollout[/]")
    try:
        with orderly_end(), workspace("demo") as space:
            return _play(screen, space, interactive=sys.stdin.isatty())
    except Stopped as stopped:
        screen.console.print(f"\nended by {stopped}; nothing is left running")
        return stopped.exit_code


def _play(screen: Screen, space: Workspace, *, interactive: bool) -> int:
    stack = Stack(space.root)
    try:
        ensure_binaries()
        with screen.working("starting the parts", "control plane, forge, hub and agent are up"):
            stack.start()
        with stack:
            story = _story(stack, screen, interactive=interactive)
            story.play()
            screen.times(story.times)
            screen.comment(f"The comment on !{story.first}", story.forge.comment(story.first))
            if interactive:
                _stay(screen, stack, story)
    except (SandboxError, AssertionError) as error:
        space.keep_logs()
        screen.failed(error, str(space.root))
        return 1
    return 0


def _story(stack: Stack, screen: Screen, *, interactive: bool) -> Story:
    senior, junior = (ForgeView(stack.client(who), PROJECT) for who in ("senior", "junior"))
    return Story(
        stack=stack,
        screen=screen,
        cluster=ClusterView(stack.plane, NAMESPACE, APPLICATION),
        forge=senior,
        people=People(screen, junior, senior, interactive=interactive),
    )


def _stay(screen: Screen, stack: Stack, story: Story) -> None:
    with contextlib.suppress(Stopped):
        screen.say(f"→ {story.forge.merge_request(story.first).web_url}")
        screen.say(f"export KUBECONFIG={stack.plane.kubeconfig}")
        screen.say("everything stays up; Ctrl-C ends it")
        while True:
            signal.pause()


if __name__ == "__main__":
    sys.exit(main())
