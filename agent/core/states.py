"""The two axes every Application and object is judged on. They are never collapsed into one."""

from enum import StrEnum


class SyncStatus(StrEnum):
    """Does the cluster say what git says."""

    SYNCED = "Synced"
    OUT_OF_SYNC = "OutOfSync"
    UNKNOWN = "Unknown"


class Health(StrEnum):
    """Does it work. Ordered best to worst by `rank`."""

    HEALTHY = "Healthy"
    SUSPENDED = "Suspended"
    PROGRESSING = "Progressing"
    MISSING = "Missing"
    DEGRADED = "Degraded"
    UNKNOWN = "Unknown"

    @property
    def rank(self) -> int:
        """Position in the order best (0) to worst."""
        return _ORDER.index(self)


_ORDER = tuple(Health)
