"""What an Application has made in the cluster: the only thing deletes ever come from.

It is kept in the agent's own resource, in shards of at most 2,000 keys. Before the first apply it is written if, and
only if, the key set grows (old and new together), and once more, exact, after the last: a crash in between
neither orphans an object nor makes one prunable that was never ours (D14).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from agent.core.fields import own_entry
from agent.core.objects import (
    TRACKING,
    AppIdentity,
    Manifest,
    ObjectKey,
    annotations_of,
    key_of,
)

API_VERSION = "lockgate.dev/v1alpha1"
KIND = "Inventory"
SHARD_SIZE = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """`uid` is empty from the moment an apply is intended until its answer is recorded."""

    uid: str = ""
    hash: str = ""  # of the desired object that was applied
    digest: str = ""  # keyed, of the owned fields in the answer


_CLAIMED = Entry()


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    app: AppIdentity
    entries: Mapping[ObjectKey, Entry] = field(default_factory=dict)


def before(inventory: Inventory, desired: Iterable[ObjectKey]) -> Inventory:
    """Return the union to write before the first apply; the same object where no key is new."""
    new = {key: _CLAIMED for key in desired if key not in inventory.entries}
    if not new:
        return inventory
    return Inventory(app=inventory.app, entries={**inventory.entries, **new})


def after(
    inventory: Inventory,
    applied: Mapping[ObjectKey, Entry],
    gone: Iterable[ObjectKey] = (),
) -> Inventory:
    """Return the exact inventory to write after the last apply; the same object where nothing changed.

    `applied` holds what is known now of each object applied or found equal; `gone` what was deleted, was gone
    already, or turned out not to be ours. A key in neither (its apply failed, its prune was held) stays.
    """
    gone_keys = frozenset(gone)
    kept = {key: entry for key, entry in inventory.entries.items() if key not in gone_keys}
    entries = {**kept, **applied}
    if entries == dict(inventory.entries):
        return inventory
    return Inventory(app=inventory.app, entries=entries)


def undesired(inventory: Inventory, desired: Iterable[ObjectKey]) -> tuple[ObjectKey, ...]:
    """Return the candidates for pruning: what is recorded and no longer in git."""
    wanted = frozenset(desired)
    return tuple(key for key in inventory.entries if key not in wanted)


def is_ours(live: Manifest, app: AppIdentity) -> bool:
    """Tell whether an object without a recorded uid is this Application's.

    It is if it has our Apply entry and the tracking id of this very object: a child that copied its owner's
    annotations names the owner's kind and name (K12).
    """
    key = key_of(live)
    instance, _, rest = annotations_of(live).get(TRACKING, "").partition(":")
    group_kind, _, place = rest.partition(":")
    _, _, name = place.partition("/")
    return (
        own_entry(live) is not None
        and instance == app.instance_name
        and group_kind == f"{key.group}/{key.kind}"
        and name == key.name
        and (not key.namespace or place == f"{key.namespace}/{key.name}")
    )


def find_foreign(
    others: Iterable[Inventory], uids: Mapping[ObjectKey, str]
) -> Mapping[ObjectKey, AppIdentity]:
    """Return which of the live objects another Application has recorded: neither applies nor prunes them."""
    by_uid = {uid: key for key, uid in uids.items() if uid}
    return {
        by_uid[entry.uid]: other.app
        for other in others
        for entry in other.entries.values()
        if entry.uid in by_uid
    }


def to_shards(inventory: Inventory, namespace: str) -> tuple[Manifest, ...]:
    """Return the custom resources that hold an inventory; one shard, if empty, for an empty one."""
    rows = sorted(inventory.entries.items())
    chunks = [rows[i : i + SHARD_SIZE] for i in range(0, len(rows), SHARD_SIZE)] or [[]]
    return tuple(
        {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": shard_name(inventory.app, index), "namespace": namespace},
            "spec": {
                "application": str(inventory.app),
                "shard": index,
                "shards": len(chunks),
                "entries": {_pack_key(key): _pack_entry(entry) for key, entry in chunk},
            },
        }
        for index, chunk in enumerate(chunks)
    )


def from_shards(app: AppIdentity, shards: Sequence[Manifest]) -> Inventory:
    """Read an inventory back.

    Shards of different generations (a crash between two writes) are united: too much is pruned only after the
    uid and the tracking id were checked, too little would orphan.
    """
    entries: dict[ObjectKey, Entry] = {}
    for shard in shards:
        for packed, text in (shard.get("spec", {}).get("entries") or {}).items():
            key, entry = _unpack_key(packed), _unpack_entry(text)
            if key not in entries or not entries[key].uid:
                entries[key] = entry
    return Inventory(app=app, entries=entries)


def shard_name(app: AppIdentity, index: int) -> str:
    return f"{app.label}-{index}"


def _pack_key(key: ObjectKey) -> str:
    return f"{key.group}/{key.kind}/{key.namespace}/{key.name}"


def _unpack_key(packed: str) -> ObjectKey:
    group, kind, namespace, name = packed.split("/", 3)
    return ObjectKey(group=group, kind=kind, namespace=namespace, name=name)


def _pack_entry(entry: Entry) -> str:
    return f"{entry.uid},{entry.hash},{entry.digest}"


def _unpack_entry(text: str) -> Entry:
    uid, object_hash, digest = [*text.split(","), "", "", ""][:3]
    return Entry(uid=uid, hash=object_hash, digest=digest)
