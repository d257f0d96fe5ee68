"""Reading an open JSON mapping field by field, with errors that name the field by its path."""

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

from agent.errors import InvalidSpecError

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One mapping of the resource and where it is: `spec.source`."""

    path: str
    value: dict[str, Any]

    @classmethod
    def of(cls, manifest: dict[str, Any]) -> Self:
        return cls(path="", value=manifest)

    def allow(self, *known: str, refuse: tuple[str, ...] = ()) -> None:
        """Refuse every set field that is not known: by name, and told apart from a typo."""
        for field, value in self.value.items():
            if field in known or value is None:
                continue
            if field in refuse:
                if value in ([], {}, "", False):
                    continue
                raise InvalidSpecError(f"{self.at(field)} is not supported yet")
            raise InvalidSpecError(
                f"{self.at(field)}: unknown field",
                hint=f"known here: {', '.join(sorted({*known, *refuse}))}",
            )

    def at(self, field: str) -> str:
        return f"{self.path}.{field}" if self.path else field

    def child(self, field: str) -> "Node | None":
        """Return a mapping below; None where it is absent or null."""
        found = self.value.get(field)
        if found is None:
            return None
        if not isinstance(found, dict):
            raise InvalidSpecError(f"{self.at(field)} must be a mapping")
        return Node(path=self.at(field), value=found)

    def require(self, field: str) -> "Node":
        found = self.child(field)
        if found is None:
            raise InvalidSpecError(f"{self.at(field)} is missing")
        return found

    def children(self, field: str) -> tuple["Node", ...]:
        return tuple(
            Node(
                path=f"{self.at(field)}[{index}]",
                value=_mapping(item, f"{self.at(field)}[{index}]"),
            )
            for index, item in enumerate(self._list(field))
        )

    def texts(self, field: str) -> tuple[str, ...]:
        found = self._list(field)
        if not all(isinstance(item, str) for item in found):
            raise InvalidSpecError(f"{self.at(field)} must be a list of strings")
        return tuple(found)

    def text(self, field: str) -> str:
        """Return a string, empty where it is absent."""
        found = self.value.get(field)
        if found is None:
            return ""
        if not isinstance(found, str):
            raise InvalidSpecError(f"{self.at(field)} must be a string", hint="quote the value")
        return found

    def required_text(self, field: str) -> str:
        found = self.text(field)
        if not found:
            raise InvalidSpecError(f"{self.at(field)} is missing")
        return found

    def flag(self, field: str, *, default: bool = False) -> bool:
        found = self.value.get(field)
        if found is None:
            return default
        if not isinstance(found, bool):
            raise InvalidSpecError(f"{self.at(field)} must be true or false")
        return found

    def integer(self, field: str, default: int, *, least: int) -> int:
        found = self.value.get(field)
        if found is None:
            return default
        if not isinstance(found, int) or isinstance(found, bool) or found < least:
            raise InvalidSpecError(f"{self.at(field)} must be a whole number of at least {least}")
        return found

    def duration(self, field: str, default: timedelta) -> timedelta:
        """Return a Go duration (`5s`, `1m30s`); a bare number is seconds, as Argo CD reads it."""
        text = self.text(field)
        if not text:
            return default
        if text.isdecimal() and text.isascii():
            return _seconds(float(text), self.at(field))
        parts = _DURATION.findall(text)
        if "".join(number + unit for number, unit in parts) != text:
            raise InvalidSpecError(f"{self.at(field)}: {text!r} is not a duration such as 5s or 3m")
        total = sum(float(number) * _UNITS[unit] for number, unit in parts)
        return _seconds(total, self.at(field))

    def _list(self, field: str) -> list[Any]:
        found = self.value.get(field)
        if found is None:
            return []
        if not isinstance(found, list):
            raise InvalidSpecError(f"{self.at(field)} must be a list")
        return found


def _mapping(value: Any, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidSpecError(f"{path} must be a mapping")
    return value


def _seconds(total: float, path: str) -> timedelta:
    if total > timedelta(days=365).total_seconds():
        raise InvalidSpecError(f"{path}: longer than a year")
    return timedelta(seconds=total)
