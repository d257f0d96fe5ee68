"""The comment on the merge request: what most people ever see of Lockgate, designed like a page.

One comment, edited in place. The order is fixed: verdict line, Applications by clusters, what needs attention, the
gate, why it is unhealthy, resources, history. Every piece of foreign text goes through `markdown`. What does not fit
a forge's limit is left out by whole sections, with a note, never cut in the middle.
"""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ci_bot.core.facts import MergeRequest, MergeRequestState, State
from ci_bot.core.gate import Verdict, VerdictKind
from ci_bot.core.markdown import cell, code, link, sentence
from ci_bot.core.rollout import AppState, Drift, Outcome, OutcomeClass, Rollout

LIMIT = 65_000  # GitHub refuses more than 65,536 characters
RESOURCES_SHOWN = 50
LIVE_HEADLINE = "🟢 Live in"  # how the history shows that a change was live
ICONS = {
    OutcomeClass.WAITING: "⚪",
    OutcomeClass.ROLLING: "🔵",
    OutcomeClass.LIVE: "🟢",
    OutcomeClass.DEGRADED: "🔴",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One line of the history: our own words in `text`, foreign ones already inert."""

    at: datetime
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommentFacts:
    """Everything the comment is made of."""

    noun: str  # "merge request"
    marker: str
    merge_request: MergeRequest
    commit_url: str = ""  # with {sha}: https://gitlab.example/group/config/-/commit/{sha}
    verdict: Verdict | None = None  # while it is open
    rollout: Rollout | None = None  # once it is merged
    apps: tuple[AppState, ...] = ()  # before the merge: what is there now
    history: tuple[Transition, ...] = ()


def make_marker(secret: bytes, project_id: str, number: int, page: int = 1) -> str:
    """Return the hidden line by which we find our comment; nobody without `secret` can make one."""
    said = f"{project_id}\n{number}\n{page}".encode()
    return f"<!-- lockgate:{hmac.new(secret, said, hashlib.sha256).hexdigest()[:40]} -->"


def edit_key(facts: CommentFacts) -> str:
    """Return what must differ for an edit to be worth one: classes and events, never pod counts or clocks."""
    parts: list[object] = [facts.merge_request.state, facts.merge_request.head_sha]
    if facts.verdict is not None:
        parts += [
            facts.verdict.kind,
            *((r.name, r.met, r.text) for r in facts.verdict.requirements),
        ]
    if facts.rollout is None:
        parts += [(a.cluster, a.app, a.change_revision, a.sync, a.health) for a in facts.apps]
    else:
        parts += [facts.rollout.state, *map(_outcome_key, facts.rollout.outcomes)]
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _outcome_key(outcome: Outcome) -> tuple[object, ...]:
    state = outcome.state
    drift = tuple((d.resource, d.field, d.seen_at, d.healed_at is not None) for d in state.drift)
    stuck = tuple(sorted({problem.reason for problem in state.problems}))
    degraded = stuck if outcome.kind is OutcomeClass.DEGRADED else ()
    return (state.cluster, state.app, outcome.kind, outcome.superseded, drift, degraded, state.held)


def render_comment(facts: CommentFacts) -> str:
    """Return the whole comment, marker first, at most `LIMIT` characters."""
    rollout = facts.rollout
    sections = [
        _render_table(facts),
        _render_attention(facts),
        _render_gate(facts) if rollout is None else "",
        _render_why(rollout) if rollout is not None else "",
        _render_resources(rollout) if rollout is not None else "",
        _render_history(facts.history),
    ]
    return _fit([facts.marker, f"### {render_headline(facts)}"], [s for s in sections if s])


def _fit(head: list[str], sections: list[str]) -> str:
    note = "_More than fits one comment: {} section(s) left out; `lockgate status` shows all._"
    kept, left = list(head), 0
    room = LIMIT - len(note) - 8 - sum(len(part) + 2 for part in head)
    for section in sections:
        if len(section) + 2 > room:
            left += 1
            continue
        kept.append(section)
        room -= len(section) + 2
    return "\n\n".join([*kept, note.format(left)] if left else kept) + "\n"


def render_headline(facts: CommentFacts) -> str:
    """Return the one sentence: what happened, or what is awaited."""
    if facts.rollout is not None:
        return _render_rollout_headline(facts.rollout)
    if facts.merge_request.state is MergeRequestState.CLOSED:
        return f"⚪ This {facts.noun} was closed; nothing was deployed"
    verdict = facts.verdict
    if verdict is None:
        return f"⚪ Reading this {facts.noun}"
    match verdict.kind:
        case VerdictKind.MERGE:
            return "🟢 The gate is open: this can be merged"
        case VerdictKind.WAIT:
            return "🟡 Waiting: " + _join_unmet(verdict)
        case VerdictKind.REFUSE:
            return "🔴 Refused: " + _join_unmet(verdict)


def _join_unmet(verdict: Verdict) -> str:
    return "; ".join(sentence(r.text) for r in verdict.requirements if not r.met)


def _render_rollout_headline(rollout: Rollout) -> str:
    match rollout.state:
        case State.CANCELED:
            return "⚪ Merged; no Application is mapped to what this changes"
        case State.SUCCESS:
            return f"{LIVE_HEADLINE} {_name_places(rollout)}{_since_merge(rollout)}"
        case State.FAILED:
            broken = [o for o in rollout.outcomes if o.kind is OutcomeClass.DEGRADED]
            first = broken[0]
            more = f" (and {len(broken) - 1} more)" if len(broken) > 1 else ""
            why = f": {sentence(first.why, 160)}" if first.why else ""
            return f"🔴 Degraded in {code(first.state.cluster, 63)}{more}{why}"
        case _:
            live = rollout.count(OutcomeClass.LIVE)
            return (
                f"🔵 Rolling out to {_name_places(rollout)}: {live} of {len(rollout.outcomes)} live"
            )


def _name_places(rollout: Rollout) -> str:
    """Name the one cluster, or count clusters, and Applications where they are more."""
    clusters = sorted({outcome.state.cluster for outcome in rollout.outcomes})
    where = code(clusters[0], 63) if len(clusters) == 1 else f"{len(clusters)} clusters"
    applications = len(rollout.outcomes)
    return where if applications == len(clusters) else f"{applications} Applications in {where}"


def _since_merge(rollout: Rollout) -> str:
    live_at, merged_at = rollout.live_at, rollout.landed.merged_at
    if live_at is None or merged_at is None:
        return ""
    seconds = (live_at - merged_at).total_seconds()
    # Two clocks are compared; a negative span says only that they differ.
    return f", {format_span(seconds)} after the merge" if seconds >= 0 else ""


def format_span(seconds: float) -> str:
    """Return a span as people say it: `40 ms`, `2.1 s`, `12 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def format_time(at: datetime | None) -> str:
    """Return an instant as the comment shows it, in UTC."""
    return "-" if at is None else f"{at:%H:%M:%S} UTC"


def _render_table(facts: CommentFacts) -> str:
    outcomes: Sequence[Outcome | AppState] = facts.rollout.outcomes if facts.rollout else facts.apps
    if not outcomes:
        return ""
    head = "| | Cluster | Application | Sync | Health | Revision | Image | Since |"
    rule = "|---|---|---|---|---|---|---|---|"
    return "\n".join([head, rule, *(_render_row(each, facts) for each in outcomes)])


def _render_row(each: Outcome | AppState, facts: CommentFacts) -> str:
    state = each.state if isinstance(each, Outcome) else each
    icon = ICONS[each.kind] if isinstance(each, Outcome) else ""
    revision = state.change_revision or state.revision
    since = state.healthy_since or state.applied_at or state.observed_at
    health = str(state.health)
    if state.replicas_desired:
        health += f" {state.replicas_ready}/{state.replicas_desired}"
    if not state.connected:
        health += " (agent not connected)"
    cells = (
        icon,
        code(state.cluster, 63),
        code(state.app, 130),
        str(state.sync),
        health,
        _commit_link(revision, facts.commit_url),
        _render_images(state),
        format_time(since),
    )
    return "| " + " | ".join(cell(text) for text in cells) + " |"


def _commit_link(sha: str, commit_url: str) -> str:
    return link(sha[:8], commit_url.format(sha=sha)) if sha and commit_url else code(sha[:8])


def _render_images(state: AppState) -> str:
    shown = [_render_image(image.image, image.previous) for image in state.images[:3]]
    if len(state.images) > len(shown):
        shown.append(f"and {len(state.images) - len(shown)} more")
    return ", ".join(shown) if shown else "-"


def _render_image(image: str, previous: str) -> str:
    if not previous or previous == image:
        return code(image)
    name, _, tag = image.rpartition(":")
    old_name, _, old_tag = previous.rpartition(":")
    if name and name == old_name:
        return f"{code(name)} {code(old_tag)} → {code(tag)}"
    return f"{code(previous)} → {code(image)}"


def _render_attention(facts: CommentFacts) -> str:
    states = [o.state for o in facts.rollout.outcomes] if facts.rollout else list(facts.apps)
    several = len(states) > 1
    lines = [
        line
        for state in states
        for line in _attention_lines(state, f" in {code(state.cluster, 63)}" if several else "")
    ]
    if not lines:
        return ""
    return "**Attention**\n\n" + "\n".join(f"- {line}" for line in lines)


def _attention_lines(state: AppState, where: str) -> list[str]:
    lines = [_render_drift(drift) + where for drift in state.drift[:5]]
    lines += [f"Prune held{where}: {sentence(text)}" for text in state.held[:5]]
    lines += [f"Beside what git states{where}: {sentence(text)}" for text in state.extra[:5]]
    return lines


def _render_drift(drift: Drift) -> str:
    who = f" by {code(drift.manager, 80)}" if drift.manager else " (nobody is named)"
    change = f" from {code(drift.was, 80)} to {code(drift.became, 80)}" if drift.was else ""
    said = f"{code(drift.resource)} {code(drift.field)} was changed{change}{who}"
    if drift.seen_at is not None:
        said += f" at {format_time(drift.seen_at)}"
    if drift.healed_at is None:
        return said + ", and stands"
    if drift.seen_at is None:
        return said + "; put back"
    return (
        said + f"; put back {format_span((drift.healed_at - drift.seen_at).total_seconds())} later"
    )


def _render_gate(facts: CommentFacts) -> str:
    verdict = facts.verdict
    if verdict is None or facts.merge_request.state is not MergeRequestState.OPEN:
        return ""
    head = code(facts.merge_request.head_sha[:8])
    lines = [f"- {'✅' if r.met else '⏳'} {sentence(r.text)}" for r in verdict.requirements]
    return f"**Gate** for {head}\n\n" + "\n".join(lines)


def _render_why(rollout: Rollout) -> str:
    lines: list[str] = []
    for outcome in rollout.outcomes:
        if outcome.kind is not OutcomeClass.DEGRADED:
            continue
        state = outcome.state
        if outcome.why and not state.problems:
            lines.append(
                f"- {code(state.cluster, 63)} {code(state.app, 130)}: {sentence(outcome.why)}"
            )
        lines += [
            f"- {code(p.resource)} **{sentence(p.reason, 60)}**"
            + (f": {code(p.message)}" if p.message else "")
            for p in state.problems
        ]
    return "**Why**\n\n" + "\n".join(lines) if lines else ""


def _render_resources(rollout: Rollout) -> str:
    rows = [
        f"| {cell(code(outcome.state.cluster, 63))} | {cell(code(r.kind, 63))} "
        f"| {cell(code(f'{r.namespace}/{r.name}' if r.namespace else r.name))} | {r.sync} | {r.health or '-'} |"
        for outcome in rollout.outcomes
        for r in outcome.state.resources
    ]
    if not rows:
        return ""
    shown = rows[:RESOURCES_SHOWN]
    more = f"\n\n{len(rows) - len(shown)} more are not shown." if len(rows) > len(shown) else ""
    table = "\n".join(
        ["| Cluster | Kind | Name | Sync | Health |", "|---|---|---|---|---|", *shown]
    )
    return _fold(f"Resources ({len(rows)})", table + more)


def _render_history(history: Sequence[Transition]) -> str:
    if not history:
        return ""
    lines = [f"- {format_time(item.at)} {item.text}" for item in history[-30:]]
    return _fold("History", "\n".join(lines))


def _fold(summary: str, body: str) -> str:
    return f"<details><summary>{summary}</summary>\n\n{body}\n\n</details>"
