"""Health: does it work. Argo CD's rules, one small module per kind, and the worst of all for an Application."""

from agent.core.health.aggregate import Assessed, aggregate
from agent.core.health.assess import assess
from agent.core.health.problems import find_problems
from agent.core.health.result import HealthResult

__all__ = ["Assessed", "HealthResult", "aggregate", "assess", "find_problems"]
