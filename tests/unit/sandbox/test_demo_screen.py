"""The demo's terminal: what is awaited, how long it took, and a failure that says what was seen instead."""

import io

import pytest
from rich.console import Console

from sandbox.demo_screen import NotYet, Screen, StepFailed
from sandbox.demo_watch import sight


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def screen(out: io.StringIO) -> Screen:
    return Screen(Console(file=out, width=100, highlight=False))


def test_waiting_ends_with_what_was_found(screen: Screen, out: io.StringIO) -> None:
    """A check that says NotYet is asked again; its answer is returned and told once."""
    looks = iter([NotYet("nothing"), "found"])

    def check() -> str:
        look = next(looks)
        if isinstance(look, NotYet):
            raise look
        return look

    assert screen.awaits("pods [2]", check) == "found"
    assert out.getvalue().strip().startswith("✓ pods [2]  0.")


def test_a_wait_in_vain_says_what_was_expected_and_what_was_seen(screen: Screen) -> None:
    """The reader needs both, and not a traceback."""

    def check() -> None:
        raise NotYet("1 pod of 1.0")

    with pytest.raises(StepFailed) as failed:
        screen.awaits("2 pods of 1.2", check, deadline_s=0.05)
    assert str(failed.value) == "expected: 2 pods of 1.2, in 0 s\nseen: 1 pod of 1.0"


def test_a_failure_names_the_step_and_the_logs(screen: Screen, out: io.StringIO) -> None:
    screen.heading(4, "The cluster follows")
    screen.failed(StepFailed("live", "[degraded]"), "/tmp/logs")
    text = out.getvalue()
    assert "step 4 (The cluster follows) failed" in text
    assert "[degraded]" in text
    assert "logs: /tmp/logs" in text


def test_the_comment_is_shown_without_marker_and_tags(screen: Screen, out: io.StringIO) -> None:
    screen.comment(
        "!1",
        "<!-- lockgate:abc -->\n\n### Live\n\n<details><summary>History</summary>\n\n- one\n\n</details>\n",
    )
    text = out.getvalue()
    assert "Live" in text
    assert "History" in text
    assert "lockgate:abc" not in text
    assert "details" not in text


def test_times_are_one_row_a_span(screen: Screen, out: io.StringIO) -> None:
    screen.times({"merge → applied": [0.4, 0.25]})
    assert "merge → applied   0.400  0.250" in out.getvalue()


@pytest.mark.parametrize(
    ("generation", "observed", "available", "rolled_out"),
    [(2, 2, 2, True), (3, 2, 2, False), (2, 2, 1, False)],
)
def test_a_rollout_is_over_when_every_replica_of_this_generation_is_available(
    generation: int, observed: int, available: int, rolled_out: bool
) -> None:
    """The counts of an older generation say nothing about this one."""
    seen = sight(
        {
            "metadata": {"generation": generation},
            "spec": {"replicas": 2, "template": {"spec": {"containers": [{"image": "a:1"}]}}},
            "status": {
                "observedGeneration": observed,
                "replicas": 2,
                "updatedReplicas": 2,
                "availableReplicas": available,
            },
        }
    )
    assert (seen.image, seen.replicas, seen.rolled_out) == ("a:1", 2, rolled_out)
