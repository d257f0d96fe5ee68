"""Who else may be at work on an Application: another controller in the cluster (D15)."""

from datetime import datetime, timedelta

from agent.api.conditions import parse_time
from agent.core.fields import managed_fields
from agent.core.health.result import mapping
from agent.core.objects import Manifest

_FRESH = timedelta(minutes=10)
_ARGOCD = "argocd-application-controller"


def find_rival(manifest: Manifest, home: str, now: datetime) -> str:
    """Return a sentence about another controller that manages the Application, or an empty string."""
    controller = str(mapping(manifest, "status").get("controllerNamespace") or "")
    if controller and controller != home:
        return (
            f"status.controllerNamespace is {controller}: another controller manages this Application; "
            "stop it, then start the agent with --take-over once"
        )
    times = [
        parse_time(entry.get("time"))
        for entry in managed_fields(manifest)
        if entry.get("manager") == _ARGOCD
    ]
    written = max((time for time in times if time is not None), default=None)
    if written is not None and now - written < _FRESH:
        return (
            f"{_ARGOCD} wrote this Application at {written:%H:%M:%S} UTC: another controller manages it; "
            "stop it, then wait ten minutes or start the agent with --take-over once"
        )
    return ""
