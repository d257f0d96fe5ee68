"""Nothing that happened is lost, nothing overtakes within an Application, and memory stays small."""

from hypothesis import given
from hypothesis import strategies as st

from agent.core.report import ApplicationGone, ApplicationReport, Operation
from agent.core.states import Health, SyncStatus
from agent.link.outbox import Outbox, outcome_of


def report(app="a", revision="r1", phase="", health=Health.PROGRESSING, note=""):
    return ApplicationReport(
        app=app,
        revision=revision,
        change_revision=revision,
        sync=SyncStatus.SYNCED,
        health=health,
        health_message=note,
        operation=Operation(phase=phase, revision=revision) if phase else None,
    )


def sent_by(outbox):
    items = []
    while (sending := outbox.send()) is not None:
        items.append(sending)
    return items


def test_only_the_newest_state_in_between_is_kept():
    outbox = Outbox()
    for number in range(1000):
        outbox.offer(report(note=str(number)))
    assert [item.health_message for _, item in sent_by(outbox)] == ["999"]


def test_outcomes_are_kept_in_their_order_before_the_newest_state():
    outbox = Outbox()
    failed = report(phase="Failed")
    healthy = report(revision="r2", phase="Succeeded", health=Health.HEALTHY)
    for item in (report(), failed, report(), healthy, report(revision="r3")):
        outbox.offer(item)
    assert [item for _, item in sent_by(outbox)] == [failed, healthy, report(revision="r3")]


def test_numbers_have_no_holes_and_go_on_after_a_reconnect():
    outbox = Outbox()
    outbox.offer(report(app="a"))
    outbox.offer(report(app="b"))
    assert [seq for seq, _ in sent_by(outbox)] == [1, 2]
    outbox.confirm(1)
    outbox.reconnect()
    assert [(seq, item.app) for seq, item in sent_by(outbox)] == [(3, "b")]


def test_a_number_that_was_never_given_confirms_nothing():
    """A hostile or confused hub cannot make the agent forget."""
    outbox = Outbox()
    outbox.offer(report())
    assert not outbox.confirm(5)
    sent_by(outbox)
    assert not outbox.confirm(2)
    assert len(outbox) == 1


def test_a_resync_sends_the_current_report_of_every_application_once():
    outbox = Outbox()
    outbox.offer(report(app="a"))
    outbox.offer(report(app="b"))
    sent_by(outbox)
    outbox.confirm(2)
    outbox.offer(report(app="c"))
    outbox.resync()
    outbox.resync()
    assert sorted(item.app for _, item in sent_by(outbox)) == ["a", "b", "c"]


def test_an_application_that_went_is_not_reported_again():
    outbox = Outbox()
    outbox.offer(report(app="a"))
    outbox.offer(ApplicationGone(app="a"))
    outbox.resync()
    assert [item for _, item in sent_by(outbox)] == [ApplicationGone(app="a")]


def test_a_hub_that_never_confirms_does_not_make_the_outbox_grow():
    outbox = Outbox()
    for number in range(5000):
        outbox.offer(report(app=f"a{number % 5}", note=str(number)))
        outbox.send()
    assert len(outbox) == 5


STEP = st.one_of(
    st.tuples(
        st.just("offer"),
        st.sampled_from("ab"),
        st.sampled_from(["r1", "r2", "r3"]),
        st.sampled_from(["", "Running", "Succeeded", "Failed"]),
        st.sampled_from([Health.PROGRESSING, Health.HEALTHY, Health.DEGRADED]),
    ),
    st.tuples(st.just("gone"), st.sampled_from("ab")),
    st.tuples(st.sampled_from(["send", "send", "confirm", "cut", "resync"])),
)


@given(st.lists(STEP, max_size=60))
def test_every_outcome_arrives_and_the_last_word_is_the_last_one_said(steps):
    """I4 over random histories: a hub that stores what it confirms knows all outcomes, in order per Application."""
    outbox = Outbox()
    stored: dict[str, list] = {"a": [], "b": []}
    offered: dict[str, list] = {"a": [], "b": []}
    unconfirmed: list = []

    def confirm():
        if not unconfirmed:
            return
        for _, item in unconfirmed:
            stored[item.app].append(item)
        assert outbox.confirm(unconfirmed[-1][0])
        unconfirmed.clear()

    for number, step in enumerate(steps):
        match step:
            case ("offer", app, revision, phase, health):
                item = report(app, revision, phase, health, note=str(number))
                outbox.offer(item)
                offered[app].append(item)
            case ("gone", app):
                outbox.offer(ApplicationGone(app=app))
                offered[app].append(ApplicationGone(app=app))
            case ("send",) if (sending := outbox.send()) is not None:
                unconfirmed.append(sending)
            case ("confirm",):
                confirm()
            case ("cut",):
                outbox.reconnect()
                unconfirmed.clear()
            case ("resync",):
                outbox.resync()
    outbox.reconnect()
    unconfirmed.clear()
    while (sending := outbox.send()) is not None:
        unconfirmed.append(sending)
    confirm()
    assert len(outbox) == 0
    for app in "ab":
        if offered[app]:
            assert stored[app][-1] == offered[app][-1]
        told = {outcome_of(item) for item in stored[app]} - {""}
        assert told == {outcome_of(item) for item in offered[app]} - {""}
        # Of each outcome the hub has the newest report, and these stand in the order in which they were said.
        newest = {outcome_of(item): item for item in offered[app] if outcome_of(item)}
        by_offer = sorted(newest.values(), key=offered[app].index)
        order = [stored[app].index(item) for item in by_offer]
        if ApplicationGone(app=app) not in offered[app]:
            assert order == sorted(order)
