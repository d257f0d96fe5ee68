"""The demo's people: what junior and senior do, by hand in the browser or through the forge's API for them."""

import select
import sys
import time

from gitlab.exceptions import GitlabError

from sandbox.demo_screen import NotYet, Screen, StepFailed
from sandbox.demo_views import ForgeView

LOOK_EVERY_S = 0.3


class People:
    """`interactive`: a person sits at the terminal and may act instead of the senior."""

    def __init__(
        self, screen: Screen, junior: ForgeView, senior: ForgeView, *, interactive: bool
    ) -> None:
        self.screen = screen
        self.junior = junior
        self.senior = senior
        self.interactive = interactive

    def junior_approves(self, number: int) -> None:
        self.junior.merge_request(number).approve()
        approvals = self.senior.merge_request(number).approvals.get()
        names = [entry["user"]["username"] for entry in approvals.approved_by]
        if names != ["junior"]:
            raise StepFailed("an approval by junior", str(names))
        self.screen.done("junior approved")

    def junior_cannot_merge(self, number: int) -> None:
        try:
            self.junior.merge_request(number).merge()
        except GitlabError as refusal:
            self.screen.done(f"the forge refuses junior's merge: {refusal.response_code}")
        else:
            raise StepFailed("junior's merge is refused", "it was merged")
        if self.senior.merge_request(number).state != "opened":
            raise StepFailed(f"!{number} is still open", "it is not")

    def senior_merges(self, number: int) -> str:
        """Return the landed commit, once somebody with the right to has merged."""
        if not (self.interactive and self._merged_by_hand(number)):
            self._approve_and_merge(number)
        sha = self.screen.awaits(f"!{number} is merged", lambda: self.senior.landed_sha(number))
        self.screen.say(f"landed as {sha[:8]}")
        return sha

    def _merged_by_hand(self, number: int) -> bool:
        """Wait for the click; False where the person would rather have the senior do it (Enter)."""
        self.screen.say(f"→ {self.senior.merge_request(number).web_url}")
        self.screen.say("approve and merge there as senior, or press Enter to let the senior do it")
        while self.senior.merge_request(number).state == "opened":
            if select.select([sys.stdin], [], [], LOOK_EVERY_S)[0]:
                sys.stdin.readline()
                return bool(self.senior.merge_request(number).state != "opened")
        return True

    def _approve_and_merge(self, number: int) -> None:
        merge_request = self.senior.merge_request(number)
        author = merge_request.author["username"] == "senior"
        if author:
            # Nobody's own approval counts; the revert is the senior's, the second pair of eyes is the junior's.
            self.junior.merge_request(number).approve()
            self.screen.done("junior looked at it and approved; the merge itself is the senior's")
        elif not self._approved(number):
            merge_request.approve()
            self.screen.done("senior approved")
            self.screen.awaits(
                "the comment says the gate is open",
                lambda: self.senior.require_comment(number, "gate is open"),
            )
        self._merge(number)

    def _approved(self, number: int) -> bool:
        approvals = self.senior.merge_request(number).approvals.get()
        return any(entry["user"]["username"] == "senior" for entry in approvals.approved_by)

    def _merge(self, number: int) -> None:
        def merged() -> None:
            merge_request = self.senior.merge_request(number)
            try:
                merge_request.merge(sha=merge_request.sha)
            except GitlabError as refusal:
                # GitLab computes mergeability in the background and says 405 or 422 meanwhile.
                raise NotYet(f"{refusal.response_code} {refusal.error_message}") from refusal

        self.screen.awaits("senior merges", merged)

    def senior_reverts(self, number: int, sha: str) -> int:
        """Open the reverting merge request, as the button on the page does; return its number."""
        project, branch = self.senior.project, f"revert-{number}-{time.time_ns() % 10**6}"
        merged = self.senior.merge_request(number)
        project.branches.create({"branch": branch, "ref": merged.target_branch})
        project.commits.get(sha).revert(branch=branch)
        opened = project.mergerequests.create(
            {
                "source_branch": branch,
                "target_branch": merged.target_branch,
                "title": f'Revert "{merged.title}"',
                "description": f"This reverts merge request !{number}",
            }
        )
        return int(opened.iid)
