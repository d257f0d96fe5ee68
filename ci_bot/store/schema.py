"""What the hub remembers. Nothing in here is of a cluster but the agents' own redacted reports.

Instants are stored as seconds since the epoch, UTC. Every table is keyed by what it is about, so that a repeated write
is the same write.
"""

import sqlalchemy as sa

metadata = sa.MetaData()

# The inbox: webhook deliveries, stored before they are acknowledged. A repetition is the same row.
deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("project", sa.Text, nullable=False),
    sa.Column("delivery", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("ref", sa.Text, nullable=False),
    sa.Column("sha", sa.Text, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("received_at", sa.Float, nullable=False),
    sa.Column("done_at", sa.Float),
    sa.UniqueConstraint("project", "delivery", name="one_row_per_delivery"),
)

agents = sa.Table(
    "agents",
    metadata,
    sa.Column("agent", sa.Text, primary_key=True),
    sa.Column("cluster", sa.Text, nullable=False),
    sa.Column("cluster_uid", sa.Text, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("epoch", sa.Text, nullable=False),
    sa.Column("seen_at", sa.Float, nullable=False),
)

# The latest report per agent and Application, as it came: the wire message without its number.
reports = sa.Table(
    "reports",
    metadata,
    sa.Column("agent", sa.Text, primary_key=True),
    sa.Column("app", sa.Text, primary_key=True),
    sa.Column("epoch", sa.Text, nullable=False),
    sa.Column("seq", sa.Integer, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("received_at", sa.Float, nullable=False),
)

# Merge requests we have something to say on.
merge_requests = sa.Table(
    "merge_requests",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("facts", sa.JSON, nullable=False),  # core.facts.MergeRequest, as read last
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("target_branch", sa.Text, nullable=False),
    sa.Column("landed_sha", sa.Text, nullable=False),
    sa.Column("merged_at", sa.Float),
    sa.Column("changed_paths", sa.JSON, nullable=False),
    sa.Column("said", sa.Text, nullable=False),  # edit key of the comment last put into the outbox
    sa.Column("settled", sa.Boolean, nullable=False),
)
sa.Index("merge_requests_by_landed_sha", merge_requests.c.project, merge_requests.c.landed_sha)

transitions = sa.Table(
    "transitions",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("project", sa.Text, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
)
sa.Index("transitions_by_merge_request", transitions.c.project, transitions.c.number)

# Forge writes that are owed, keyed by what they say; a newer one replaces an older one of the same key.
outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("body", sa.JSON, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("due_at", sa.Float, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("last_error", sa.Text, nullable=False),
    sa.Column("quarantined", sa.Boolean, nullable=False),
)

# Ids under which we wrote to a project: a rotated project token is a new user, and old comments are still ours.
authors = sa.Table(
    "authors",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("user_id", sa.Text, primary_key=True),
)

polls = sa.Table(
    "polls",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("polled_at", sa.Float, nullable=False),
)
